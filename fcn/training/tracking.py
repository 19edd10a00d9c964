"""Accelerate's experiment trackers: the run is logged by one of them if it is asked for.

The convention: none is a dependency of this project, and which one is used changes nothing else.
"""

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from ..errors import InputError, first_line

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


def start(accelerator: Accelerator, name: str, choices: Mapping[str, Any]) -> None:
    """Start the tracker, if there is one, and tell it a run's choices; it takes no lists.

    Raises:
        InputError: If it will not start, such as wandb where nobody has logged in.
    """
    told = {
        key: " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        for key, value in choices.items()
    }
    try:
        accelerator.init_trackers("fcn", told)
    except Exception as error:  # the packages have no failure in common
        raise InputError(
            f"--tracker {name} does not start ({first_line(error)}); set it up as its own pages"
            " say, or leave --tracker out"
        ) from error
