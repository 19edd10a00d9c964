"""``python -m fcn pull``: bring a checkpoint from the Hugging Face Hub."""

import argparse
import sys

HELP = "download a checkpoint from the Hugging Face Hub"
TEXT = """\
Download a checkpoint into the cache of huggingface_hub and print its folder, which must not be
changed. Without a revision, the newest commit is taken. Only weights, JSON files and pictures are
fetched, and each file is checked against the hash that the commit gives. FCN_PULL_TIMEOUT is the
number of seconds without progress after which the Hub is given up (60).
"""
EXAMPLES = """\
examples:
  python -m fcn pull USER/street
  python -m fcn segment photo.jpg --checkpoint "$(python -m fcn pull USER/street@v1)" --output out
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``pull``."""
    parser.add_argument("checkpoint", metavar="USER/NAME[@REVISION]", help="what to download")


def run(args: argparse.Namespace) -> int:
    """Pull and print the folder."""
    from ..hub.pull import pull

    pulled = pull(args.checkpoint)
    if pulled.note:
        print(pulled.note, file=sys.stderr)
    print(pulled.folder)
    return 0
