"""A talk with the Hub that ends: in a result, or in one sentence.

The convention: a job runs in a thread and tells a ``Watch`` whenever anything moves. It is given up
once nothing has moved for a while, because huggingface_hub waits for some answers without limit and
for others as long as the Hub asks it to. No sentence has a token in it.
"""

import io
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from tqdm import tqdm

from ..errors import InputError

PATIENCE = 60.0  # seconds without progress
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
SAY_EVERY = 5.0  # seconds between lines about progress
# As it comes, huggingface_hub tells of every 10 MB only: a slow line would look like a dead one.
constants.DOWNLOAD_CHUNK_SIZE = 1 << 16
# It also warns of each try; the sentence at the end is enough.
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

Result = TypeVar("Result")


def parse_id(text: str) -> tuple[str, str | None]:
    """Split ``user/name`` or ``user/name@revision``.

    Raises:
        InputError: If it is neither.
    """
    repo_id, _, revision = text.partition("@")
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        repo_id = ""
    if repo_id.count("/") != 1 or ("@" in text and not revision) or " " in text:
        if Path(text).exists():
            raise InputError(f"{text!r} is here, but a name on the Hub is needed: USER/NAME.")
        raise InputError(f"{text!r} is neither a folder nor USER/NAME or USER/NAME@REVISION.")
    return repo_id, revision or None


class Watch:
    """How far a job is and when it last moved; every few seconds it is told on stderr."""

    def __init__(self) -> None:
        self.last = self.said = time.monotonic()
        self.done = self.total = 0

    def expect(self, what: str, total: int) -> None:
        """Say what is about to move, and how many bytes it has."""
        self.done, self.total = 0, total
        print(f"{what}, {total / 1e6:.1f} MB", file=sys.stderr, flush=True)

    def move(self, count: int = 0) -> None:
        """Note progress, of ``count`` bytes if they are known.

        Raises:
            InputError: If more came than was expected: a size that was checked is a promise.
        """
        self.done += count
        self.last = time.monotonic()
        if 0 < self.total < self.done:
            raise InputError("The Hub sends more than it said.")
        if count and self.last - self.said > SAY_EVERY:
            self.said = self.last
            share = f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
            print(f"  {share}", file=sys.stderr, flush=True)

    def bar(self) -> type[tqdm]:
        """A progress bar that draws nothing and tells this watch, for ``hf_hub_download``."""
        watch = self

        class Bar(tqdm):
            def __init__(self, *args: object, **options: object) -> None:
                super().__init__(disable=True)

            def update(self, n: float | None = 1) -> None:
                watch.move(int(n or 0))

            # What comes over Xet is told twice: as bytes of the file, and as bytes of the line.
            def update_transfer(self, n: float | None = 1) -> None:
                watch.move()

            def set_transfer_postfix_str(self, *given: object, **options: object) -> None:
                pass

        return Bar

    def open(self, file: Path) -> io.BufferedReader:
        """Open a file whose reading counts as progress."""
        watch = self

        class Reader(io.BufferedReader):
            def read(self, size: int | None = -1, /) -> bytes:
                watch.move()
                return super().read(size)

        return Reader(io.FileIO(file))


def patience() -> float:
    """``FCN_PULL_TIMEOUT``: the seconds without progress after which the Hub is given up.

    Raises:
        InputError: If it is no such number.
    """
    text = os.environ.get("FCN_PULL_TIMEOUT") or str(PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise InputError(f"FCN_PULL_TIMEOUT is {text!r}, but must be a number of seconds.")
    return seconds


def ask(job: Callable[[Watch], Result], about: str) -> Result:
    """Run a job that talks to the Hub; it is given up after ``patience`` without progress.

    Args:
        job: Called in a thread with a ``Watch`` to tell progress to. If it is given up, the thread
            is left behind and ends with the process at the latest.
        about: What it concerns, such as ``user/name``, for the sentence.

    Raises:
        InputError: If the Hub cannot be reached, refuses, breaks off or does not answer.
    """
    watch, outcome, seconds = Watch(), Future[Result](), patience()

    def work() -> None:
        try:
            outcome.set_result(job(watch))
        except Exception as error:
            outcome.set_exception(error)

    # An executor's threads would keep the process from ending.
    threading.Thread(target=work, daemon=True).start()
    while not outcome.done():
        left = watch.last + seconds - time.monotonic()
        if left <= 0:
            raise InputError(f"Nothing came from the Hub for {seconds:g} s.")
        wait([outcome], left)
    try:
        return outcome.result()
    except Exception as error:
        sentence = explain(error, about)
        if sentence is None:
            raise
        raise InputError(sentence) from error


def explain(error: BaseException, about: str) -> str | None:
    """Tell in a sentence what went wrong with the Hub; None for what looks like a bug."""
    wraps = RuntimeError, LocalEntryNotFoundError
    while isinstance(error, wraps) and error.__cause__ is not None:
        error = error.__cause__
    match error:
        case InputError():
            return str(error)
        case LocalTokenNotFoundError():
            return f"There is no token for the Hub: {LOG_IN}."
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE keeps this machine off the Hub."
        case RevisionNotFoundError():
            return f"{about} names a revision that is not on the Hub."
        case GatedRepoError():
            return f"{about} is gated: accept its conditions on the Hub, and {LOG_IN}."
        case RemoteEntryNotFoundError():
            return f"{about} lacks a file on the Hub that it lists."
        case RepositoryNotFoundError():
            about = error.repo_id or about  # a job may be about several
            return f"{about} is not on the Hub, or is private and the token may not see it."
        case HfHubHTTPError():
            return _of_status(error, about)
        case HTTPError():
            return f"The Hub cannot be reached or broke off ({_first_line(error)})."
        case OSError() | ValueError() | RuntimeError():  # hf_xet has no errors of its own
            return f"{about} failed ({_first_line(error)})."
    if _is_of_library(error):  # JSON that it takes for the Hub's
        return f"What answers for {about} is not the Hub, but perhaps a proxy on the way."
    return None


def _is_of_library(error: BaseException) -> bool:
    """Whether huggingface_hub itself raised an error, and not a function of ours that it called."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_globals["__name__"].startswith("huggingface_hub")


def _of_status(error: HfHubHTTPError, about: str) -> str:
    status = error.response.status_code
    if status == 401:
        known = "does not accept the token" if get_token() else "wants a token"
        return f"The Hub {known} for {about} (401): {LOG_IN}."
    if status == 403:
        return f"The Hub forbids this for {about} (403): the token lacks the right."
    if status == 404:
        return f"{about} is not on the Hub (404)."
    if status == 412:
        return f"Somebody else pushed to {about} at the same time (412): give the command again."
    if status == 429:
        pause = error.response.headers.get("Retry-After", "")
        after = f" for {pause} s" if pause.isdigit() else ""
        return f"The Hub asks to wait{after} (429): there were too many requests."
    if status >= 500:
        return f"The Hub is out of order ({status}): try again later."
    reason = _without_token(error.server_message or "").splitlines()
    return f"The Hub refused {about} ({status}): {reason[0] if reason else _first_line(error)}"


def _first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, without the token."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return _without_token(text)


def _without_token(text: str) -> str:
    """Leave out a token that is quoted, as in the complaint about one that no header can hold."""
    return re.sub("Bearer .*", "(token)", text)
