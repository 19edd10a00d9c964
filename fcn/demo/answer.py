"""What the page makes of a photo: its segments for the viewer, and a sentence about them.

The convention: the page works at no more than ``LONGEST_SIDE`` pixels, which is more than any
screen shows of it; programs that want every pixel use the API.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..palette import BACKGROUND, things
from ..segmentation import Segmentation
from ..segmenter import Segmenter
from . import viewer

LEAST_SHARE = 0.01  # of the photo, for a class to be worth naming
DOUBTFUL_OPACITY = 0.25
DOUBT = "This photo looks unlike those the network was trained on: treat the result with caution."


def result_for_page(
    segmenter: Segmenter,
    photo: Image.Image,
    segmentation: Segmentation,
    name: str,
    file: str = "",
) -> dict[str, Any]:
    """Describe a segmented photo to the viewer, faintly and with a caution where it is doubtful.

    Args:
        segmenter: What segmented it.
        photo: Of at most ``LONGEST_SIDE``.
        segmentation: What was found in it.
        name: What it is called, without an ending.
        file: An upload that browsers show as this very photo, if there is one.
    """
    doubtful = segmentation.mean_confidence < segmenter.doubt_below
    return viewer.result(
        photo,
        segmentation,
        name=name,
        file=file,
        trained=segmenter.trained_strides,
        message=found_line(segmentation),
        caution=DOUBT if doubtful else "",
        opacity=DOUBTFUL_OPACITY if doubtful else 1.0,
    )


def found_line(segmentation: Segmentation) -> str:
    """Say in words what a photo shows, or that it shows nothing that the network knows."""
    if names := named(segmentation):
        return f"Found {listed(names, 5)} in {segmentation.seconds:.1f} s."
    if traces := named(segmentation, least=0):
        return f"Found no more than a trace of {listed(traces, 5)}."
    return f"Found nothing: this network knows {listed(things(segmentation.classes), 6)}."


def named(segmentation: Segmentation, least: float = LEAST_SHARE) -> list[str]:
    """List the classes that have at least a share of the photo, largest first."""
    return [
        one.name for one in segmentation.found() if one.name != BACKGROUND and one.share >= least
    ]


def listed(names: Sequence[str], most: int) -> str:
    """Name things in a sentence, shortened.

    >>> listed(["cat", "dog", "cow"], 3), listed(["cat", "dog", "cow"], 1)
    ('cat, dog and cow', 'cat and 2 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
