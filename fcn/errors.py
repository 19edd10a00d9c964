"""The one exception for mistakes of the person at the keyboard, and what the system refused."""


class InputError(ValueError):
    """A mistake in what was given (a file, a flag, a data set), told in one sentence.

    Commands print it and exit; the page shows it. Anything else that is raised is a bug and
    keeps its traceback.
    """


def describe(error: OSError) -> str:
    """Which file the system would not read or write, and why, without the error's number."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
