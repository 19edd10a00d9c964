"""The checkpoint folder: one format for a run's output, ``checkpoints/NAME`` and a Hub repository.

A folder cannot be replaced atomically. So a run writes each new checkpoint under a fresh name and
then replaces a one-line pointer (``RUN/best``, ``RUN/last``) that names it. A process killed at any
moment leaves the pointer on the last complete folder.

The convention: weights are float16 in a checkpoint and float32 in the training state beside it
(``state/trainer.pt``), which only a resumed run reads.
"""

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from .errors import InputError
from .model import CONFIG_NAME, FCN, WEIGHTS_NAME

STATE_NAME = "state/trainer.pt"
POINTERS = ("best", "last")


def resolve(path: str | Path) -> Path:
    """Find the checkpoint folder that a path means.

    Args:
        path: A checkpoint folder, a pointer file, or a run's folder (then its ``best``).

    Returns:
        The folder that holds ``config.json``.

    Raises:
        InputError: If there is none.
    """
    path = Path(path)
    candidates = [path, *(path / name for name in POINTERS)]
    for candidate in candidates:
        folder = follow(candidate)
        if (folder / CONFIG_NAME).is_file():
            return folder
    what = "has no config.json" if path.exists() else "does not exist"
    raise InputError(f"{path} is not a checkpoint: it {what}. Give a folder that train.py wrote.")


def follow(pointer: Path) -> Path:
    """The folder that a pointer file names; the path itself if it is no pointer."""
    if not pointer.is_file() or pointer.stat().st_size > 255:
        return pointer
    return pointer.parent / pointer.read_text(encoding="utf-8").strip()


def load(path: str | Path) -> FCN:
    """Rebuild the network of a checkpoint on the CPU, in float32 and evaluation mode.

    Raises:
        InputError: If there is no checkpoint, or it is damaged or of another network.
    """
    folder = resolve(path)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a whole checkpoint: {name} is missing.")
    try:
        return FCN.from_pretrained(str(folder))
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{folder} is damaged: {error}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{folder} does not describe this network: {error}") from error


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a checkpoint, such as ``metrics.json``; empty if it is not there.

    Raises:
        InputError: If the file is not a JSON object.
    """
    file = folder / name
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} holds a {type(value).__name__}, not a JSON object.")
    return value


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, readable by people and by tools."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def rounded(model: FCN) -> FCN:
    """A copy in evaluation mode whose float32 weights have the values that a checkpoint keeps."""
    copied = copy.deepcopy(model).eval()
    copied.load_state_dict({name: value.half() for name, value in model.state_dict().items()})
    return copied


def write(folder: Path, model: FCN) -> None:
    """Write ``config.json`` and float16 weights into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half()._save_pretrained(folder)


def publish(run: Path, name: str, step: int, fill: Callable[[Path], None]) -> Path:
    """Write a checkpoint beside the present one, then point to it.

    Args:
        run: The run's folder.
        name: The pointer: ``best`` or ``last``.
        step: Part of the fresh folder's name.
        fill: Called with the new folder's path; writes everything that belongs in it.

    Returns:
        The new folder. The one before it stays too, for readers that are still in it.
    """
    pointer = run / name
    present = follow(pointer)
    folder = run / f"{name}-{step:06d}"
    if folder == present:
        folder = run / f"{name}-{step:06d}-again"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fill(folder)
    for file in [*folder.rglob("*"), folder]:
        synchronise(file)
    draft = run / f".{name}"
    draft.write_text(folder.name + "\n", encoding="utf-8")
    synchronise(draft)
    os.replace(draft, pointer)
    for old in run.glob(f"{name}-*"):
        if old not in (folder, present):
            shutil.rmtree(old)
    return folder


def synchronise(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write what a resumed run needs: tensors, numbers and strings only."""
    file = folder / STATE_NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)


def load_state(folder: Path) -> dict[str, Any]:
    """Read a training state, unpickling nothing but tensors and plain types.

    Raises:
        InputError: If there is none.
    """
    file = folder / STATE_NAME
    if not file.is_file():
        raise InputError(f"{folder} has no {STATE_NAME}, so there is no run to resume.")
    return torch.load(file, map_location="cpu", weights_only=True)


@torch.no_grad()
def transfer(source: FCN, target: FCN) -> list[str]:
    """Copy into ``target`` every parameter of ``source`` that fits.

    Per-class parameters (scores and deconvolutions) go over class by class, by name.

    Returns:
        The names that found no place or no source, for the user to read.
    """
    given, left = source.state_dict(), []
    rows = [
        (target.classes.index(name), source.classes.index(name))
        for name in target.classes
        if name in source.classes
    ]
    for name, parameter in target.state_dict().items():
        value = given.get(name)
        per_class = name.startswith("head.") and parameter.ndim > 0
        if value is None or value.shape[per_class:] != parameter.shape[per_class:]:
            left.append(name)
        elif per_class:
            for new, old in rows:
                parameter[new] = value[old]
        else:
            parameter.copy_(value)
    left += [name for name in given if name not in target.state_dict()]
    left += [f"class {name}" for name in target.classes if name not in source.classes]
    return left
