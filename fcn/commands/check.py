"""``python -m fcn check``: look for mistakes in a data set."""

import argparse

from ..data.check import check_dataset
from .flags import add_data_flags

HELP = "look for mistakes in a data set"
TEXT = """\
Read every pair of a data set and report, one per line, what would spoil training: damaged files,
masks of the wrong size or with colours or values that are no class, photos without masks.
The exit status is 1 if there are errors; warnings do not change it.
"""
EXAMPLES = """\
examples:
  python -m fcn check --dataset folder --data DIR
  python -m fcn check --dataset voc --data DIR --split train val --classes cat dog
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``check``."""
    add_data_flags(parser)
    parser.add_argument(
        "--split",
        nargs="+",
        action="extend",
        default=[],
        help="splits to check (default: all that are there)",
    )


def run(args: argparse.Namespace) -> int:
    """Check a data set and print the report; returns 1 if it has errors."""
    splits = list(dict.fromkeys(args.split))
    report = check_dataset(args.dataset, args.data, splits, args.classes, args.others)
    print(report)
    return int(not report.ok)
