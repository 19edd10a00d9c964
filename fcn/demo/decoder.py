"""What visitors send is decoded in a process of its own, within limits of memory and time.

A file of a kilobyte can make a decoder ask for gigabytes, and one of a megabyte can keep it busy
for minutes. Every format has its own ways to do that, most of them before a pixel is decoded, so it
is of no use to look at the file first. The convention: a process is kept and opens one photo at a
time; if it breaks a limit it is ended, and the next photo gets another.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from ..photo import PhotoError, is_shown_alike, open_photo

MEMORY = 2_000_000_000  # bytes of addresses that the process may have
SECONDS = 10.0  # for one photo; 40 megapixels take two
ROOT = Path(__file__).parents[2]
PIPE = 1 << 20  # bytes; a photo of 40 megapixels has 120 MB, and a usual pipe 64 kB
# Or numpy and malloc would take addresses for every core.
SPARING = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class Decoder:
    """Opens photos in a process of its own, which it starts when there is none.

    Args:
        seconds: What one photo may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, path: str | Path, name: str, longest: int = 0) -> tuple[Image.Image, bool]:
        """Open a photo.

        Args:
            path: Its file.
            name: What to call it in a message.
            longest: As for ``open_photo``.

        Returns:
            What ``open_photo`` gives, and whether browsers show the file like that: see
            ``is_shown_alike``.

        Raises:
            PhotoError: As ``open_photo``, or if it takes too much memory or time.
        """
        with self._turn:
            process = self.start()
            deadline = threading.Timer(self._seconds, process.kill)
            deadline.start()
            try:
                return _ask(process, [os.path.abspath(path), name, longest])
            except PhotoError:
                raise
            except BaseException as error:
                # What is left of its answer would be taken for that to the next question.
                process.kill()
                process.wait()
                if not isinstance(error, OSError | EOFError):
                    raise
                told = f"{name} takes too much memory or time to open: save it again."
                raise PhotoError(told) from error
            finally:
                deadline.cancel()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process if there is none, so that the first photo need not wait for it."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._begin()
        return self._process

    def _begin(self) -> subprocess.Popen[bytes]:
        # The host may have its packages there.
        places = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(math.ceil(self._seconds))],
            env={**os.environ, **SPARING, "PYTHONPATH": os.pathsep.join(places)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for who started it; it ends when its input does
        )
        assert process.stdout
        with suppress(ImportError, AttributeError, OSError):  # Linux alone has it, and may refuse
            import fcntl

            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE)
        return process


def _ask(process: subprocess.Popen[bytes], question: Sequence[Any]) -> tuple[Image.Image, bool]:
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.flush()
    if not (line := process.stdout.readline()):
        raise EOFError
    answer = json.loads(line)
    if "error" in answer:
        raise PhotoError(answer["error"])
    width, height = answer["size"]
    pixels = process.stdout.read(3 * width * height)
    if len(pixels) < 3 * width * height:
        raise EOFError
    return Image.frombytes("RGB", (width, height), pixels), answer["is_alike"]


decode = Decoder()
decode_listed = Decoder()  # so that a slow one of several photos holds up nobody else


def limit_memory() -> None:
    """Let this process have no more addresses than ``MEMORY``, where a system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def end_in(seconds: int) -> None:
    """End this process after so many seconds, where a system can; 0 for not.

    By then its parent has done so, unless that was ended itself.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def serve(seconds: int) -> None:
    """Answer questions until there are no more, or the memory or time is too little for one."""
    for line in sys.stdin.buffer:
        path, name, longest = json.loads(line)
        pixels = b""
        end_in(seconds + 1)
        try:
            photo = open_photo(path, name, longest)
            answer = {"size": photo.size, "is_alike": is_shown_alike(path, longest)}
            pixels = photo.tobytes()
        except PhotoError as error:
            answer = {"error": str(error)}
        except MemoryError:
            return
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)
        sys.stdout.buffer.flush()
        end_in(0)


if __name__ == "__main__":
    limit_memory()
    serve(int(sys.argv[1]))
