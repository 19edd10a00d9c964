"""Pulling a checkpoint from the Hub: all of it from one commit, or none of it.

The convention: what comes from the Hub is data. Only files by the names in ``FILES`` and pictures
are fetched, after their sizes were looked at, and each is compared with the hash that the commit
gives. A pull that went through leaves a note in the cache of what it found; when the Hub cannot be
had, only such a note makes a copy in the cache good enough.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import (
    HfApi,
    ModelInfo,
    cached_assets_path,
    constants,
    hf_hub_download,
    try_to_load_from_cache,
)
from pydantic import TypeAdapter

from ..checkpoint import CONFIG_NAME, WEIGHTS_NAME
from ..errors import InputError
from ..inference.engines import ONNX_NAME, weights_of
from .call import Watch, ask, parse_id, patience

FILES = (CONFIG_NAME, WEIGHTS_NAME, ONNX_NAME, "metrics.json", "training.json")
SPARE = 50_000_000  # bytes of the disk that a pull leaves free
LARGEST = 1_000_000_000  # bytes that a pull may have
LARGEST_SMALL, MOST_SMALL = 5_000_000, 20  # JSON and pictures: bytes of one, and how many
COMMIT = re.compile("[0-9a-f]{40}")


def is_fetched(name: str) -> bool:
    """Whether a pull fetches a file of this name."""
    return name in FILES or (name.endswith(".png") and "/" not in name)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit: its bytes, and their sha256 or, for a small file, git's sha1."""

    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """What a repository holds of a checkpoint at one commit."""

    repo_id: str
    revision: str
    files: dict[str, RemoteFile]

    def wanted(self) -> list[str]:
        """The files that a pull fetches: weights that nothing here can run are left."""
        is_idle = ONNX_NAME in self.files and find_spec("torch") is None
        return [name for name in self.files if not (is_idle and name == WEIGHTS_NAME)]


@dataclass(frozen=True)
class Pulled:
    """A checkpoint that was pulled.

    Attributes:
        folder: Where its files are; to be read only.
        repo_id: ``user/name``.
        revision: The commit, 40 hexadecimal digits.
        note: Why it is not what the Hub has now, in a sentence; empty if it is.
    """

    folder: Path
    repo_id: str
    revision: str
    note: str = ""

    @property
    def source(self) -> str:
        """What it is, in short: ``user/name@1a2b3c4d``."""
        return f"{self.repo_id}@{self.revision[:8]}"


def look(name: str) -> Listing:
    """List what ``user/name[@revision]`` holds of a checkpoint.

    Raises:
        InputError: If it holds none or one that is too large, or the Hub cannot be had.
    """
    return ask(lambda watch: read_listing(name), name)


def read_listing(name: str) -> Listing:
    """``look`` without a deadline, for a job that has one."""
    repo_id, revision = parse_id(name)
    info: ModelInfo = HfApi().model_info(repo_id, revision=revision, files_metadata=True)
    files = {
        one.rfilename: RemoteFile(one.size or 0, one.lfs.sha256 if one.lfs else one.blob_id or "")
        for one in info.siblings or ()
        if is_fetched(one.rfilename)
    }
    if CONFIG_NAME not in files or not {WEIGHTS_NAME, ONNX_NAME} & set(files):
        raise InputError(f"{name} is no checkpoint: it lacks {CONFIG_NAME} or {WEIGHTS_NAME}.")
    check_sizes(name, {one: file.size for one, file in files.items()})
    return Listing(repo_id, info.sha or "", files)


def check_sizes(name: str, sizes: Mapping[str, int]) -> None:
    """Refuse a checkpoint that is too large to be pulled.

    Args:
        name: What to call it.
        sizes: The bytes of each file that a pull fetches.

    Raises:
        InputError: In a sentence that says what is too much.
    """
    size = sum(sizes.values())
    if size > LARGEST:
        raise InputError(f"{name} has {size / 1e9:.1f} GB, more than {LARGEST / 1e9:.0f} GB.")
    small = [size for one, size in sizes.items() if one.endswith((".json", ".png"))]
    if len(small) > MOST_SMALL or max(small) > LARGEST_SMALL:
        raise InputError(
            f"{name} has more than {MOST_SMALL} JSON files and pictures, or one of more than"
            f" {LARGEST_SMALL / 1e6:.0f} MB."
        )


def pull(name: str) -> Pulled:
    """Bring a checkpoint from the Hub, or the copy of an earlier pull if that fails.

    Args:
        name: ``user/name`` or ``user/name@revision``; the former means the newest commit.

    Returns:
        A folder in huggingface_hub's cache whose files are whole.

    Raises:
        InputError: If it cannot be had and there is no copy either.
    """
    if COMMIT.fullmatch(parse_id(name)[1] or "") and (kept := _find_kept(name)):
        return kept  # a commit never changes
    patience()  # a wrong one is no reason to serve an older copy
    try:
        return ask(lambda watch: _fetch(name, watch), name)
    except InputError as error:
        if (kept := _find_kept(name)) is None:
            raise
        return replace(kept, note=f"{error} This is the copy of an earlier pull.")


def _fetch(name: str, watch: Watch) -> Pulled:
    listing = read_listing(name)
    if ONNX_NAME not in listing.files and find_spec("torch") is None:
        raise InputError(f"{name} has no {ONNX_NAME}, and without torch nothing else runs here.")
    wanted = listing.wanted()
    size = sum(listing.files[one].size for one in wanted)
    _check_space(listing, wanted)
    where = f"{listing.repo_id} at {listing.revision[:8]}"
    watch.expect(f"Pulling {where}: {len(wanted)} files", size)
    for one in wanted:
        # Again, because it may have been the copy in the cache that was damaged.
        file = _fetch_one(listing, one, watch) or _fetch_one(listing, one, watch)
        if file is None:
            raise InputError(f"{name} came damaged: {one} is not what the commit says.")
        folder = file.parent
        watch.move()
    if WEIGHTS_NAME in listing.files.keys() - set(wanted):
        check_stand_in(folder, listing)
    with suppress(OSError, ValueError):  # it only serves a later pull that fails
        draft = _note_of(name).with_suffix(".draft")
        draft.write_text(json.dumps(asdict(listing)), encoding="utf-8")
        draft.replace(_note_of(name))
    return Pulled(folder, listing.repo_id, listing.revision)


def _check_space(listing: Listing, wanted: Sequence[str]) -> None:
    """Insist that what is not in the cache yet fits there: a page needs some of the disk too.

    Raises:
        InputError: If it does not.
    """
    new = [
        listing.files[one].size
        for one in wanted
        if not try_to_load_from_cache(listing.repo_id, one, revision=listing.revision)
    ]
    place = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(one for one in (place, *place.parents) if one.exists())).free
    if new and sum(new) + SPARE > free:
        raise InputError(
            f"{listing.repo_id} needs {(sum(new) + SPARE) / 1e6:.0f} MB in {place}, where"
            f" {free / 1e6:.0f} MB are free."
        )


def check_stand_in(folder: Path, listing: Listing) -> None:
    """Insist that an int8 file was made from the weights that are left on the Hub for it.

    Raises:
        InputError: If it was made from others.
    """
    if weights_of(folder / ONNX_NAME) != listing.files[WEIGHTS_NAME].digest:
        raise InputError(
            f"{listing.repo_id} has a {ONNX_NAME} of other weights than those beside it, and"
            " without torch nothing else runs here (python -m fcn export makes it anew)."
        )


def _fetch_one(listing: Listing, name: str, watch: Watch) -> Path | None:
    """Bring a file into the cache; None if what is there then is damaged, and was deleted."""
    before = watch.done
    found = hf_hub_download(
        listing.repo_id, name, revision=listing.revision, tqdm_class=watch.bar()
    )
    file = Path(found)
    if _is_whole(file, listing.files[name]):
        return file
    file.resolve().unlink()
    file.unlink(missing_ok=True)
    watch.done = before
    return None


def _note_of(name: str) -> Path:
    repo_id, revision = parse_id(name)
    return cached_assets_path("fcn", repo_id, revision or "main") / "pulled.json"


def _find_kept(name: str) -> Pulled | None:
    """The copy of an earlier pull, if all of it is there and whole."""
    try:
        listing = TypeAdapter(Listing).validate_json(_note_of(name).read_bytes())
    except (OSError, ValueError):
        return None
    folders = set()
    for one in listing.wanted():
        found = try_to_load_from_cache(listing.repo_id, one, revision=listing.revision)
        if not isinstance(found, str) or not _is_whole(Path(found), listing.files[one]):
            return None
        folders.add(Path(found).parent)
    return Pulled(folders.pop(), listing.repo_id, listing.revision)


def _is_whole(file: Path, expected: RemoteFile) -> bool:
    if file.stat().st_size != expected.size:
        return False
    with file.open("rb") as content:
        if len(expected.digest) == 64:
            return hashlib.file_digest(content, "sha256").hexdigest() == expected.digest
        blob = f"blob {expected.size}\0".encode() + content.read()
        return hashlib.sha1(blob).hexdigest() == expected.digest
