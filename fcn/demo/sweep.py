"""Delete what visitors leave behind: uploads, and the files of answers.

Gradio's own deletion ends for good at the first file that it cannot delete, and leaves the folders
that files were in. The convention: everything is in one folder that only this program has, and goes
when it is an hour old, and the oldest sooner where all of it might fill a disk, except for what the
page was built with.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import gradio as gr

# Names that nothing else has: what has both is deleted, and a training run has a lock as well.
PREFIX, LOCK = "fcn-page-", ".fcn-page.lock"
AGE = 3600.0  # seconds
SWEEPS = 60  # in that time
MOST = 2 * 10**9  # bytes in all


def take_folder() -> Path:
    """Make a folder for Gradio's files that goes at exit; to be called before a page is built.

    Folders of servers that were killed go now.
    """
    wanted = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    wanted.mkdir(parents=True, exist_ok=True)
    for left in wanted.glob(f"{PREFIX}*/{LOCK}"):
        # The system frees the lock of a process that ends in any way.
        with suppress(OSError, Timeout), FileLock(left, timeout=0):
            shutil.rmtree(left.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=wanted)).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lock = FileLock(folder / LOCK)
    lock.acquire()
    atexit.register(lock.release)
    return folder


def sweep(folder: Path, kept: Collection[str], before: float) -> None:
    """Delete files and empty folders that did not change since a time.

    Args:
        folder: Where they are; it stays.
        kept: Paths of files that stay, too.
        before: In seconds since the epoch.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            file = Path(place, name)
            with suppress(OSError):  # somebody else was faster, or may do what we may not
                if str(file) not in kept and file.lstat().st_ctime < before:
                    file.unlink()
        with suppress(OSError):  # it is not empty
            if Path(place) != folder and Path(place).lstat().st_ctime < before:
                Path(place).rmdir()


def trim(folder: Path, kept: Collection[str], most: int) -> None:
    """Delete the oldest files until all that are left have no more than so many bytes.

    Args:
        folder: Where they are.
        kept: Paths of files that stay, and count.
        most: In bytes.
    """
    files = []
    for place, _, names in os.walk(folder):
        for file in (Path(place, name) for name in names):
            with suppress(OSError):  # somebody else was faster
                told = file.lstat()
                files.append((told.st_ctime_ns, told.st_size, file))
    excess = sum(size for _, size, _ in files) - most
    for _, size, file in sorted(files):
        if excess > 0 and str(file) not in kept:
            with suppress(OSError):
                file.unlink()
                excess -= size


def start(page: "gr.Blocks", folder: Path) -> None:
    """Sweep again and again, as long as the program runs.

    Args:
        page: Whose pictures stay: it must be built, and what is made from now on goes.
        folder: As ``take_folder`` gives it.
    """
    kept = {str(Path(place, name)) for place, _, names in os.walk(folder) for name in names}

    def run() -> None:
        while True:
            time.sleep(AGE / SWEEPS)
            sweep(folder, kept, time.time() - AGE)
            trim(folder, kept, MOST)
            for names in page.temp_file_sets:  # Gradio's own lists of them
                names.difference_update([one for one in tuple(names) if not os.path.lexists(one)])

    threading.Thread(target=run, name="sweep", daemon=True).start()
