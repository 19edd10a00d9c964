"""The demo: ``python app.py`` serves the page on the bundled weights, or on ``--model PATH``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fcn.errors import InputError
from fcn.page import build_page, launch_options
from fcn.segmenter import Segmenter

BUNDLED = Path(__file__).parent / "checkpoints"
PREFERRED = ("animals", "street")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; GRADIO_SERVER_PORT and its like are Gradio's to read."""
    parser = argparse.ArgumentParser(description="Serve the page and its API.")
    parser.add_argument(
        "--model",
        default=os.environ.get("FCN_MODEL"),
        metavar="PATH",
        help="checkpoint folder (default: FCN_MODEL, or the first bundled one)",
    )
    return parser.parse_args(arguments)


def bundled() -> Path:
    """Find the checkpoint that comes with the project.

    Raises:
        InputError: If there is none.
    """
    others = sorted(path.name for path in BUNDLED.glob("*/") if path.name not in PREFERRED)
    for name in (*PREFERRED, *others):
        if (BUNDLED / name / "config.json").is_file():
            return BUNDLED / name
    raise InputError(f"{BUNDLED} holds no checkpoint: give one with --model PATH.")


def load(model: str | None) -> Segmenter:
    """Load a checkpoint, the bundled one if None, to run on all of the machine's cores."""
    segmenter = Segmenter.load(model or os.path.relpath(bundled()))
    if segmenter.engine == "torch":
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
    return segmenter


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; a mistake in what was given ends in one sentence."""
    try:
        build_page(load(parse(arguments).model)).launch(**launch_options())
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
