"""Flags that several commands share."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.datasets import DATASETS
from ..data.source import OTHERS
from ..errors import InputError
from ..inference.engines import ENGINES
from ..inference.fusion import STRIDES


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def count(text: str) -> int:
    """Parse a whole number from 0 up."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def positive(text: str) -> int:
    """Parse a whole number from 1 up."""
    if not (value := count(text)):
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags about how a network is run."""
    parser.add_argument(
        "--stride",
        type=int,
        choices=STRIDES,
        help="finest map to fuse in; 32 is the coarsest (default: the checkpoint's own)",
    )
    engines = ("auto", *ENGINES)
    parser.add_argument(
        "--engine",
        choices=engines,
        default="auto",
        help="onnx runs the int8 file on a CPU, torch the weights on any device; auto is torch"
        " where there is a GPU, else onnx (default: auto)",
    )
    parser.add_argument("--device", help="as torch names it: cpu, cuda, mps (default: the best)")


def add_folder_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that tells where data sets lie."""
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder that holds CamVid/, VOCdevkit/ or ADEChallengeData2016/, or, for --dataset"
        " folder, train/, val/ and classes.txt (default: data)",
    )


def choose_dataset(wanted: str | None, trained: Mapping[str, Any], checkpoint: str | Path) -> str:
    """The data set that a flag names, or else the config of a checkpoint's training.

    Raises:
        InputError: If neither names one that there is.
    """
    name = wanted or trained.get("dataset")
    if name not in DATASETS:
        raise InputError(f"{checkpoint} does not say on what it was trained: add --dataset.")
    return name


def add_data_flags(parser: argparse.ArgumentParser, is_trained: bool = False) -> None:
    """Add the flags that choose a data set, or leave that to what a checkpoint was trained on."""
    trained = " (default: the one it was trained on)" if is_trained else ""
    parser.add_argument(
        "--dataset", required=not is_trained, choices=DATASETS, help=f"which data set{trained}"
    )
    add_folder_flag(parser)
    parser.add_argument(
        "--classes",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="keep only these classes",
    )
    parser.add_argument(
        "--others",
        choices=OTHERS,
        default=None if is_trained else OTHERS[0],
        help="what the classes not kept become"
        f" (default: {'as it was trained' if is_trained else OTHERS[0]})",
    )
