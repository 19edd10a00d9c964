"""``python -m fcn score``: score a folder of predictions by a data set's own protocol."""

import argparse
import json
import sys
from pathlib import Path

from ..data.datasets import DATASETS, open_dataset
from ..protocols import score
from .flags import add_data_flags

HELP = "score a folder of predictions"
TEXT = """\
Score predictions, ours or anyone's, against the labels of a split by the data set's own protocol.

A prediction is a one-channel PNG named like its photo. Its values are those of the data set's
masks: 1 to 150 in scene_parsing, 0 to 20 in voc, 0 to 10 in camvid. Classes that neither occur
nor are predicted count as 0 in the mean IoU. `evaluate --save-predictions` writes such files.
"""
EXAMPLES = """\
examples:
  python -m fcn score --dataset scene_parsing --data DIR --predictions out
  python -m fcn score --dataset voc --data DIR --split val --predictions out --json
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``score``."""
    add_data_flags(parser)
    parser.add_argument("--split", help="split to score (default: the data set's val)")
    parser.add_argument(
        "--predictions", required=True, type=Path, metavar="DIR", help="folder of PNGs"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Score predictions and print the result."""
    split = args.split or DATASETS[args.dataset].val
    dataset = open_dataset(args.dataset, args.data, split, args.classes, args.others)
    if dataset.shortfall():
        print(f"{dataset.shortfall()}, and goes on with them", file=sys.stderr)
    scores = score(dataset, args.predictions)
    report = scores.summary()
    for doubt in scores.doubts():
        print(f"warning: {doubt}", file=sys.stderr)
    if args.json:
        print(json.dumps(report, allow_nan=False))
        return 0
    width = max(map(len, ("class", *dataset.classes)))
    print(f"{'class':{width}}    IoU")
    for name, iou in scores.per_class_iou.items():
        print(f"{name:{width}} " + ("     -" if iou is None else f"{100 * iou:6.1f}"))
    print(
        f"{dataset.name} {dataset.split}, {scores.predictions} of {len(dataset)} pairs\n"
        f"mean IoU {report['mean_iou']:.4f} over {len(dataset.classes)} classes, "
        f"pixel accuracy {100 * report['pixel_accuracy']:.4g} %"
        + (f", score {report['score']:.4f}" if "score" in report else "")
        + f", mean IoU of what occurs {report['mean_iou_of_occurring']:.4f}\n{report['protocol']}"
    )
    return 0
