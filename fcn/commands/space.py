"""``python -m fcn space``: host the page on Hugging Face Spaces."""

import argparse
from pathlib import Path

HELP = "host the page on Hugging Face Spaces"
TEXT = """\
Create or update a Gradio Space from this repository: only the files that the page needs, and the
variable FCN_MODEL, which names the weights. Without --model, a Space keeps its weights, and a new
one serves the bundled ones; --dry-run writes the files of a new one. Weights with an int8 file need
no torch on a CPU, which makes the Space's build much smaller. To go back to older weights, give
--model with their revision.

The Hub may require a paid plan for a new Space on cpu-basic. A free account can use ZeroGPU instead
(--hardware zero-a10g), where int8 weights run on the CPU too.
"""
EXAMPLES = """\
examples:
  python -m fcn space USER/demo --model USER/street
  python -m fcn space USER/demo --model USER/street@v1
  python -m fcn space USER/demo --hardware zero-a10g
  python -m fcn space USER/demo --dry-run && python runs/space/app.py
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``space``."""
    parser.add_argument("space", metavar="USER/NAME", help="the Space")
    parser.add_argument(
        "--model",
        default="",
        metavar="USER/MODEL[@REVISION]",
        help="weights on the Hub; several in quotes, separated by spaces",
    )
    parser.add_argument(
        "--hardware",
        default="",
        help="such as cpu-basic, zero-a10g or t4-small (default: what the Space has; cpu-basic for"
        " a new one)",
    )
    parser.add_argument(
        "--dry-run",
        nargs="?",
        type=Path,
        const=Path("runs/space"),
        metavar="DIR",
        help="write the Space's files into a folder instead (default: runs/space)",
    )


def run(args: argparse.Namespace) -> int:
    """Make or update the Space, or write its folder."""
    from ..hub import space
    from ..hub.commit import check_access

    if args.dry_run is not None:
        space.rehearse(args.dry_run, args.space, args.model, args.hardware)
        need = args.dry_run / "requirements.txt"
        model = f'FCN_MODEL="{args.model}" ' if args.model else ""
        print(f"Try it: pip install -r {need} && {model}python {args.dry_run / 'app.py'}")
        return 0
    check_access(args.space, "space")
    print(space.publish(args.space, args.model, args.hardware))
    return 0
