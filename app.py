"""The demo: ``python app.py`` serves the page on bundled weights, or on those of ``--model``."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fcn.checkpoint import from_here
from fcn.cores import count_cores
from fcn.demo import sweep
from fcn.demo.page import build_page, launch_options
from fcn.errors import InputError, describe, show_any_text
from fcn.hub.call import parse_id, patience
from fcn.hub.pull import pull
from fcn.inference.engines import ZERO_GPU
from fcn.segmenter import Segmenter, refuse_missing

BUNDLED = Path(__file__).parent / "checkpoints"
PREFERRED = ("animals", "street")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; GRADIO_SERVER_PORT and its like are Gradio's to read."""
    parser = argparse.ArgumentParser(description="Serve the page and its API.")
    parser.add_argument(
        "--model",
        default=os.environ.get("FCN_MODEL", ""),
        metavar="MODEL",
        help="checkpoint folder, or USER/NAME or USER/NAME@REVISION on the Hub; separate several"
        " by spaces (default: FCN_MODEL, or all that are bundled)",
    )
    return parser.parse_args(arguments)


def split(models: str) -> list[str]:
    """Split what ``--model`` names; a folder that is there may have spaces in its name."""
    return [models] if models and Path(models).exists() else models.split()


def bundled() -> list[Path]:
    """List the checkpoints that come with the project, the one to begin with first.

    Raises:
        InputError: If there is none.
    """
    others = sorted(path.name for path in BUNDLED.glob("*/") if path.name not in PREFERRED)
    folders = [BUNDLED / name for name in (*PREFERRED, *others)]
    found = [one for one in folders if (one / "config.json").is_file()]
    if not found:
        raise InputError(f"{BUNDLED} holds no checkpoint: give one with --model PATH.")
    return found


def load(models: Sequence[str]) -> tuple[list[Segmenter], str]:
    """Load checkpoints, to run on all of the machine's cores.

    Args:
        models: Folders and Hub ids; none for the bundled checkpoints.

    Returns:
        Those that could be had, or the bundled ones if none could, and what is to be said about
        them: the revision of each that is from the Hub, and why others are not there.

    Raises:
        InputError: If a name is neither a checkpoint folder nor a Hub id, or nothing is bundled.
    """
    patience()  # a wrong one is no reason to serve other weights than were asked for
    segmenters: dict[str, Segmenter] = {}  # by source, as two names may mean the same commit
    notes: list[str] = []
    for model in dict.fromkeys(models):
        if Path(model).exists():
            segmenters[model] = Segmenter.load(model)
            continue
        parse_id(model)
        refuse_missing(model)
        try:
            segmenter, note = load_from_hub(model)
            segmenters[segmenter.source] = segmenter
        except InputError as error:
            note = f"{model} is not in use: {error}"
        print(note, file=sys.stderr)
        notes.append(note)
    if not segmenters:
        segmenters = {str(one): Segmenter.load(from_here(one)) for one in bundled()}
        notes += ["These are bundled weights."] if models else []
    if any(one.engine == "torch" for one in segmenters.values()):
        import torch

        torch.set_num_threads(count_cores())
    return list(segmenters.values()), " ".join(dict.fromkeys(notes))


def load_from_hub(model: str) -> tuple[Segmenter, str]:
    """Pull a checkpoint and load it.

    Returns:
        The network, and which commit it is.

    Raises:
        InputError: If there is no such checkpoint, or it cannot be had in time or used.
    """
    pulled = pull(model)
    try:
        segmenter = Segmenter.load(pulled.folder)
        # What fails at the page's first photo would keep the others from starting too; another
        # size than the file was traced at, as some files take no other.
        segmenter.scores(Image.new("RGB", (96, 64)))
    except InputError as error:
        raise InputError(str(error).replace(str(pulled.folder), pulled.source)) from error
    except Exception as error:  # what a stranger's files make of the libraries that read them
        raise InputError(f"it cannot be used here ({type(error).__name__}).") from error
    segmenter.source, segmenter.revision = pulled.source, pulled.revision
    return segmenter, f"{pulled.repo_id}, revision {pulled.revision[:8]}. {pulled.note}".strip()


def please_zero_gpu() -> None:
    """Name a function that may ask for a GPU, without which ZeroGPU ends a Space as it starts.

    It is never called: int8 weights run on the processor.
    """
    if ZERO_GPU in os.environ:
        import spaces  # which such a Space has

        spaces.GPU(lambda: None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; a mistake in what was given ends in one sentence."""
    show_any_text()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # hosts stop so; files go then, too
    try:
        please_zero_gpu()
        segmenters, note = load(split(parse(arguments).model))
        folder = sweep.take_folder()
        page = build_page(segmenters, note)
        sweep.start(page, folder)
        page.launch(**launch_options())
    except (InputError, OSError) as error:
        print(describe(error) if isinstance(error, OSError) else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before it serves; Gradio knows it while it does
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
