"""How large a network sees a photo: in training, when it is scored, and when it is served.

The convention: sizes are long sides in pixels. A photo is enlarged only so far; for a network that
has no size of its own it keeps its size, up to what memory is sure to take.
"""

LARGEST_ENLARGEMENT = 2.0
LARGEST_SIDE = 2048  # of a photo that no network's own size scales


def enlargement(longest: int, wanted: int) -> float:
    """The factor that brings a long side to what is wanted, or as near as photos are enlarged."""
    return min(wanted / longest, LARGEST_ENLARGEMENT)


def network_size(size: tuple[int, int], inference_size: int) -> tuple[int, int]:
    """The (width, height) at which a network sees a photo of this (width, height)."""
    wanted = inference_size or min(max(size), LARGEST_SIDE)
    factor = enlargement(max(size), wanted)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
