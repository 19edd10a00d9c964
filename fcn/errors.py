"""The one exception for mistakes of the person at the keyboard, and how all of them are told."""

import sys
from io import TextIOWrapper


class InputError(ValueError):
    """A mistake in what was given (a file, a flag, a data set), told in one sentence.

    Commands print it and exit; the page shows it. Anything else that is raised is a bug and
    keeps its traceback.
    """


def show_any_text() -> None:
    """Let stdout and stderr escape what they have no letters for: names may be in any alphabet."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def first_line(error: BaseException) -> str:
    """The first line of what a library says, or the error's kind if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def describe(error: OSError) -> str:
    """Which file the system would not read or write, and why, without the error's number."""
    file = error.filename2 or error.filename  # the latter is what a copy was made of
    where = f"{file}: " if file else ""
    return f"{where}{error.strerror or error}"
