"""Data sets that download themselves: fetch the archive, compare its SHA-1, extract it.

One convention: what has its final name is whole. An archive is ``NAME.zip.part`` until its SHA-1
is right, and its files lie in ``.NAME.extracting`` until the last of them is there; whatever stops
a download, the same command goes on with it.
"""

import hashlib
import os
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from ..errors import InputError
from .datasets import find_source

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
TRIES = 5  # failures in a row that bring nothing new
MARGIN = 200_000_000  # bytes that stay free on the disk
NETWORK = (URLError, HTTPException, ConnectionError, TimeoutError, SSLError)


@dataclass(frozen=True)
class Archive:
    """A zip file on the web with one data set's folder in it.

    Attributes:
        url: where it is; a mirror goes into the environment variable ``FCN_NAME_URL``.
        size: its bytes.
        sha1: its SHA-1, in hex.
        unpacked: about how many bytes its files take.
    """

    url: str
    size: int
    sha1: str
    unpacked: int


ARCHIVES = {
    "scene_parsing": Archive(
        "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        967_382_037,
        "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
        1_100_000_000,
    )
}


def ensure(name: str, data: Path, pause: float = 1.0) -> None:
    """Download a data set that is not there, if it is one that can be downloaded.

    Processes that share the folder wait for the one that was first. The archive is kept; one that
    was put into the folder by hand is taken as it is, without a network.

    Args:
        name: key in ``DATASETS``.
        data: the folder that shall contain the data set's own folder.
        pause: seconds before the first new try of a download that broke off; then twice that.

    Raises:
        InputError: if the site, the archive, the folder or the disk will not do.
    """
    source, archive = find_source(name), ARCHIVES.get(name)
    if archive is None or (data / source.folder).is_dir():
        return
    if data.name == source.folder:
        data = data.parent
    if source.splits(data) or (data / source.folder).is_dir():
        return
    if mistake := source.misplaced(data):
        raise InputError(mistake)
    if (data / "classes.txt").is_file() and find_source("folder").splits(data):
        raise InputError(f"{data} holds a data set of your own: add --dataset folder")
    if not data.resolve().parent.is_dir():
        raise InputError(f"there is no folder {data.parent} to make {data.name} in; see --data")
    path = data / f"{source.folder}.zip"
    try:
        data.mkdir(exist_ok=True)
        with FileLock(data / f".{source.folder}.lock"):
            if (data / source.folder).is_dir():
                return
            if not path.exists():
                url = os.environ.get(f"FCN_{name.upper()}_URL", archive.url)
                _fetch(archive, url, path, pause)
            elif fault := _fault(path, archive):
                raise InputError(f"{path} {fault}; delete it to have it downloaded")
            _extract(path, source.folder)
    except OSError as error:
        raise InputError(f"{error.filename or data}: {error.strerror or error}") from error
    print(f"{data / source.folder} is complete; {path} may be deleted.", file=sys.stderr)


def _fault(path: Path, archive: Archive) -> str:
    """Say why a file is not the archive, or nothing if it is."""
    if path.stat().st_size != archive.size:
        return f"has {path.stat().st_size:,} bytes where {archive.size:,} are expected"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    return "" if found == archive.sha1 else f"has the SHA-1 {found}, not {archive.sha1}"


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        raise InputError(
            f"{folder.resolve()} has {free / 1e9:.1f} GB free, but the data set needs "
            f"{(needed + MARGIN) / 1e9:.1f}; free some, or choose another disk with --data"
        )


def _fetch(archive: Archive, url: str, path: Path, pause: float) -> None:
    """Download to ``path``, going on where an earlier download broke off."""
    part = path.with_name(path.name + ".part")
    part.touch()
    if part.stat().st_size > archive.size:
        part.write_bytes(b"")
    start = most = part.stat().st_size
    _check_space(path.parent, archive.size - start + archive.unpacked)
    print(f"Downloading {url} to {path.parent.resolve()}", file=sys.stderr)
    failures = 0
    with tqdm(
        total=archive.size,
        initial=start,
        desc=path.name,
        unit="B",
        unit_scale=True,
        mininterval=0.1 if sys.stderr.isatty() else 30,
    ) as bar:
        while part.stat().st_size < archive.size:
            reason = _receive(archive, url, part, bar)
            size = part.stat().st_size
            most, failures = (size, 0) if size > most else (most, failures + 1)
            # A site that has sent nothing yet is not there: no use in waiting for it.
            if failures == (TRIES if most > start else 1) and size < archive.size:
                raise InputError(
                    f"{url} cannot be reached ({reason}); try again, or fetch {path.name} "
                    f"elsewhere and put it into {path.parent.resolve()}"
                )
            if size < archive.size:
                time.sleep(pause * 2**failures)
    if fault := _fault(part, archive):
        part.unlink()
        raise InputError(
            f"what {url} sent {fault}, and was deleted; try again, or fetch {path.name} elsewhere "
            f"and put it into {path.parent.resolve()}"
        )
    part.rename(path)


def _receive(archive: Archive, url: str, part: Path, bar: tqdm) -> str:
    """Add to a file what one request brings; say what ended it."""
    have = part.stat().st_size
    try:
        request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    except ValueError as error:
        raise InputError(f"{url} is no web address; it begins with http:// or https://") from error
    try:
        with urlopen(request, timeout=TIMEOUT) as response:
            if response.status != 206:
                have = 0  # the server sends all of it, whatever was asked for
            if response.headers.get_content_type() == "text/html":
                return "it sends a page"  # of a mirror, or one to log in to a network
            length = response.headers.get("Content-Length")
            if length and have + int(length) != archive.size:
                raise InputError(
                    f"{url} sends {have + int(length):,} bytes where {archive.size:,} are expected,"
                    f" so it is not the archive; fetch it elsewhere and put it into {part.parent}"
                )
            with part.open("r+b") as file:
                file.truncate(have)
                file.seek(have)
                bar.update(have - bar.n)
                while chunk := response.read(min(CHUNK, archive.size - have)):
                    have += file.write(chunk)
                    bar.update(len(chunk))
    except HTTPError as error:
        if error.code == 416:  # it has no such range: what is here is no part of it
            part.write_bytes(b"")
        return str(error)
    except NETWORK as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
    return "the connection was closed"


def _extract(path: Path, folder: str) -> None:
    """Extract an archive's folder beside it; it appears when it is whole.

    Its SHA-1 is the published one, and ``ZipFile`` leaves the folder for no name.
    """
    temporary = path.with_name(f".{folder}.extracting")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _check_space(path.parent, sum(member.file_size for member in members))
            for member in tqdm(members, f"extracting {path.name}", unit="file", unit_scale=True):
                file.extract(member, temporary)
        (temporary / folder).rename(path.with_name(folder))
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} cannot be extracted ({error}); delete it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
