"""Accelerate's experiment trackers: the run is logged by one of them if it is asked for.

The convention: none is a dependency of this project, and which one is used changes nothing else.
"""

from accelerate.tracking import get_available_trackers

from .errors import InputError

TRACKERS = ("tensorboard", "trackio", "wandb")


def check_tracker(name: str) -> None:
    """Insist that the package of a tracker is there, before anything is downloaded or trained.

    Raises:
        InputError: If it is not.
    """
    if name in TRACKERS and name not in map(str, get_available_trackers()):
        raise InputError(
            f"--tracker {name} needs a package that is not installed: pip install {name}"
        )
