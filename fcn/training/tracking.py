"""Accelerate's experiment trackers: the run is logged by one of them if it is asked for.

The convention: none is a dependency of this project, and which one is used changes nothing else.
"""

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from ..errors import InputError

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


def start(accelerator: Accelerator, name: str, choices: dict[str, object]) -> None:
    """Start the tracker, if there is one, and tell it a run's choices.

    Raises:
        InputError: If it will not start, such as wandb where nobody has logged in.
    """
    try:
        accelerator.init_trackers("fcn", choices)
    except Exception as error:  # the packages have no failure in common
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"--tracker {name} does not start ({first}); set it up as its own pages say, or leave"
            " --tracker out"
        ) from error
