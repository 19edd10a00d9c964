"""``python -m fcn push``: put a checkpoint on the Hugging Face Hub."""

import argparse

HELP = "push a checkpoint to the Hugging Face Hub"
TEXT = """\
Push a checkpoint folder to the Hub in one commit, with its model card and pictures. The repository
is created if it does not exist; pushing the same checkpoint twice makes no second commit. The token
is the one that `hf auth login` saves, or HF_TOKEN.
"""
EXAMPLES = """\
examples:
  python -m fcn push checkpoints/street USER/street
  python -m fcn push runs/voc USER/voc --private --tag v1
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``push``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint folder or run")
    parser.add_argument("repository", metavar="USER/NAME", help="where it goes on the Hub")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument("--tag", default="", help="a name for this commit, such as v1")


def run(args: argparse.Namespace) -> int:
    """Push and print the commit's page."""
    from .. import checkpoint
    from ..hub.commit import check_access
    from ..hub.push import push

    checkpoint.resolve(args.checkpoint)  # before a token is asked for
    check_access(args.repository)
    print(push(args.checkpoint, args.repository, args.private, args.tag))
    return 0
