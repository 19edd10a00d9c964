"""A network in a checkpoint folder, and the state that a resumed run goes on from.

The convention: weights are float16 in a checkpoint and float32 in the training state beside it
(``state/trainer.pt``), which only a resumed run reads.
"""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from .checkpoint import CONFIG_NAME, WEIGHTS_NAME, read_json, resolve
from .errors import InputError, first_line
from .model import FCN
from .vgg import deepen

STATE_NAME = "state/trainer.pt"


def load(path: str | Path) -> FCN:
    """Rebuild the network of a checkpoint on the CPU, in float32 and evaluation mode.

    Raises:
        InputError: If there is no checkpoint, or it is damaged or of another network.
    """
    folder = resolve(path)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a whole checkpoint: {name} is missing.")
    read_json(folder, CONFIG_NAME)  # the mixin takes what is no object for a config, too
    try:
        return FCN.from_pretrained(str(folder))
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{folder} is damaged: {error}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{folder} does not describe this network: {error}") from error


def rounded(model: FCN) -> FCN:
    """A copy in evaluation mode whose float32 weights have the values that a checkpoint keeps."""
    copied = copy.deepcopy(model).eval()
    copied.load_state_dict({name: value.half() for name, value in model.state_dict().items()})
    return copied


@contextlib.contextmanager
def told_of_disk(folder: Path) -> Iterator[None]:
    """Say in a sentence that a folder cannot be written, which neither library says as OSError."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        reason = first_line(error)
        raise InputError(f"{folder} cannot be written: is the disk full? ({reason})") from error


def write(folder: Path, model: FCN) -> None:
    """Write ``config.json`` and float16 weights into a folder.

    Raises:
        InputError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model).half()
    with told_of_disk(folder):
        half._save_pretrained(folder)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write what a resumed run needs: tensors, numbers and strings only.

    Raises:
        InputError: If it cannot be written.
    """
    file = folder / STATE_NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    with told_of_disk(folder):
        torch.save(state, file)


def load_state(folder: Path) -> dict[str, Any]:
    """Read a training state, unpickling nothing but tensors and plain types.

    Raises:
        InputError: If there is none, or it is damaged.
    """
    file = folder / STATE_NAME
    if not file.is_file():
        raise InputError(f"{folder} has no {STATE_NAME}, so there is no run to resume.")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(f"{file} is damaged or cut short ({first_line(error)}).") from error


@torch.no_grad()
def transfer(source: FCN, target: FCN) -> list[str]:
    """Copy into ``target`` every parameter of ``source`` that fits.

    Per-class parameters (scores and deconvolutions) go over class by class, by name. The three
    convolutions that a VGG19 has beyond a VGG16 do nothing at first: random ones would spoil what
    the trained ones around them say.

    Returns:
        The names that found no place or no source, for the user to read.
    """
    given, left = source.state_dict(), []
    if (source.config["backbone"], target.config["backbone"]) == ("vgg16", "vgg19"):
        deepen(target.backbone)
    rows = [
        (target.classes.index(name), source.classes.index(name))
        for name in target.classes
        if name in source.classes
    ]
    for name, parameter in target.state_dict().items():
        value = given.get(name)
        per_class = name.startswith("head.") and parameter.ndim > 0
        first = 1 if per_class else 0  # dimension that has to be equal
        if value is None or value.shape[first:] != parameter.shape[first:]:
            left.append(name)
        elif per_class:
            for new, old in rows:
                parameter[new] = value[old]
        else:
            parameter.copy_(value)
    left += [name for name in given if name not in target.state_dict()]
    left += [f"class {name}" for name in target.classes if name not in source.classes]
    return left
