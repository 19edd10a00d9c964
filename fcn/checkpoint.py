"""The checkpoint folder: one format for a run's output, ``checkpoints/NAME`` and a Hub repository.

A folder cannot be replaced atomically. So a run writes each new checkpoint under a fresh name and
then replaces a one-line pointer (``RUN/best``, ``RUN/last``) that names it. A process killed at any
moment leaves the pointer on the last complete folder.

The convention: nothing here imports torch, so that a program which only serves need not; what is
in the folder's weights is ``saving``'s matter.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import InputError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
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


def from_here(path: Path) -> Path:
    """An absolute path as seen from the current folder, if it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def follow(pointer: Path) -> Path:
    """The folder that a pointer file names; the path itself if it is no pointer."""
    if not pointer.is_file() or pointer.stat().st_size > 255:
        return pointer
    return pointer.parent / pointer.read_text(encoding="utf-8", errors="replace").strip()


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
        json.dumps(value, ensure_ascii=False).encode()  # half a character could not be shown
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} holds a {type(value).__name__}, not a JSON object.")
    return value


def read_recipe(folder: Path) -> dict[str, Any]:
    """The ``config`` of a checkpoint's ``training.json``; empty if it does not tell it.

    Raises:
        InputError: If what it says of its data is of another type than a run writes.
    """
    config = read_json(folder, "training.json").get("config")
    if not isinstance(config, dict):
        return {}
    for name in {"dataset", "split", "val_split", "others", "classes"} & config.keys():
        values = config[name] if name == "classes" else [config[name]]
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            file = folder / "training.json"
            raise InputError(f"{file} cannot be used: {name} is {config[name]!r}.")
    return config


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, readable by people and by tools."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


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
    try:
        fill(folder)
        for file in [*folder.rglob("*"), folder]:
            synchronise(file)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # half of one would only fill the disk
        raise
    draft = run / f".{name}"
    draft.write_text(folder.name + "\n", encoding="utf-8")
    synchronise(draft)
    os.replace(draft, pointer)
    for old in run.glob(f"{name}-*"):
        # What someone else put there stays; and what cannot be removed is no reason to end a run.
        is_own = re.fullmatch(rf"{name}-\d{{6,}}(-again)?", old.name)
        if is_own and old not in (folder, present):
            shutil.rmtree(old, ignore_errors=True)
    return folder


def check_writable(folder: Path) -> None:
    """Insist that a folder can be written, or made.

    Raises:
        InputError: If a file is in its place or above it, or its permissions forbid it.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InputError(f"{folder} cannot be written: {there} is a file.")
    if not os.access(there, os.W_OK):
        raise InputError(f"{folder} cannot be written: {there} is read-only.")


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Keep other processes that do the same out of a run's folder, which is made.

    Raises:
        InputError: If another one has it.
    """
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(
            f"Another process trains in {run} now: choose another folder with --output."
        ) from error


def synchronise(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
