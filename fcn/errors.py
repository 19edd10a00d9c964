"""The one exception for mistakes of the person at the keyboard."""


class InputError(ValueError):
    """A mistake in what was given (a file, a flag, a data set), told in one sentence.

    Commands print it and exit; the page shows it. Anything else that is raised is a bug and
    keeps its traceback.
    """
