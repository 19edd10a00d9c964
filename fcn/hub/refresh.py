"""After a training run: push its best checkpoint, if it is no worse, and move a Space to it.

The convention: nothing that goes wrong here loses the run, and each complaint ends with the command
that goes on from where it stopped.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import InputError
from . import space
from .commit import check_access
from .push import published_metrics, push

# What must be the same for scores to be compared.
TERMS = {"dataset": "another data set", "split": "another split", "classes": "other classes"}


def check(model: str, space_name: str) -> None:
    """Refuse, before hours of training, what could not be pushed after them.

    Args:
        model: Where the checkpoint shall go, ``user/name``; empty for nowhere.
        space_name: The Space that shall serve it; empty for none.

    Raises:
        InputError: If a name is wrong, or the token is missing, wrong or lacks the right.
    """
    if space_name and not model:
        raise InputError("--space needs --push USER/MODEL: a Space serves what is on the Hub.")
    if model:
        check_access(model)
    if space_name:
        check_access(space_name, "space")


def publish(run: Path, model: str, space_name: str, force: bool) -> None:
    """Push a run's best checkpoint and move a Space to it; says on stdout what was done.

    Args:
        run: The run's folder.
        model: Where the checkpoint goes, ``user/name``.
        space_name: The Space to move and restart; empty for none.
        force: Push even what scored worse than what is there.

    Raises:
        InputError: If something was not done, with the command that does it.
    """
    again = f"python -m fcn push {shlex.quote(str(run))} {model}"
    try:
        if not force:
            refuse_worse(
                checkpoint.read_json(checkpoint.resolve(run), "metrics.json"),
                published_metrics(model),
                model,
            )
        pushed = push(run, model)
    except InputError as error:
        then = f" && python -m fcn space {space_name} --model {model}" if space_name else ""
        raise InputError(f"{error} Nothing is lost; to push it: {again}{then}") from error
    print(pushed)
    if not space_name:
        return
    served = f"{model}@{pushed.revision}"
    try:
        print(space.publish(space_name, served, is_retrained=True))
    except InputError as error:
        again = f"python -m fcn space {space_name} --model {served}"
        raise InputError(f"{error} The push went through; for the Space: {again}") from error


def refuse_worse(new: Mapping[str, Any], old: Mapping[str, Any], model: str) -> None:
    """Refuse scores that are lower than those of what is there, or of something else.

    Raises:
        InputError: In a sentence that says why.
    """
    theirs = _mean_iou(old)
    if theirs is None:
        return  # it was not scored
    for key, other in TERMS.items():
        if new.get(key) != old.get(key):
            raise InputError(f"Not pushed: {model} was scored on {other}.")
    ours, how = _mean_iou(new) or 0.0, ""
    bare, their_bare = _bare_mean_iou(new), _bare_mean_iou(old)
    if bare is not None and their_bare is not None:
        ours, theirs, how = bare, their_bare, ", both before whole classes are left out"
    if ours < theirs:
        raise InputError(
            f"Not pushed: {100 * ours:.2f} % mIoU is less than the {100 * theirs:.2f} % of"
            f" {model}{how}."
        )


def _mean_iou(metrics: Mapping[str, Any], key: str = "mean_iou") -> float | None:
    """A score, unless it is none: what is on the Hub may hold anything."""
    score = metrics.get(key)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return None
    return score


def _bare_mean_iou(metrics: Mapping[str, Any]) -> float | None:
    """The score before ``fit`` spent some of it on a threshold, more or less as it happened."""
    fitted = metrics.get("fitted")
    by_absence = fitted.get("mean_iou_by_absent_below") if isinstance(fitted, Mapping) else None
    return _mean_iou(by_absence, "0.0") if isinstance(by_absence, Mapping) else None
