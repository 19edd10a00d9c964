"""What the lesson tells of: a photo, and what a network makes of it before it decides.

The convention: pictures of score maps share one scale of colours within a lesson, a pixel for each
cell of the map.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from PIL import Image

from ..palette import BACKGROUND, safe_colors
from ..segmentation import Found, Segmentation
from ..segmenter import Segmenter
from . import sketches

MOST = 6  # classes that are shown


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows; the pixels of ``is_cells`` are to be seen as squares."""

    caption: str
    image: Image.Image
    is_cells: bool = False


@dataclass(frozen=True)
class Part:
    """A part of the lesson: words, pictures, and a table with its head."""

    words: str
    pictures: list[Picture]
    table: list[list[str]] = field(default_factory=list)


class Subject:
    """A photo, and what a network makes of it before, while and after it decides.

    Args:
        segmenter: The network.
        photo: RGB.

    Attributes:
        seen: The photo at the size that the network sees it at.
        maps: Scores by layer, see ``Engine.maps``.
        found: What is found at each stride that the network was trained at.
        palette: A colour for each class, as the viewer has it at first.
    """

    def __init__(self, segmenter: Segmenter, photo: Image.Image) -> None:
        self.segmenter, self.photo = segmenter, photo
        self.seen = segmenter.resize(photo)
        self.maps = segmenter.maps(photo)
        self.found: dict[int, Segmentation] = segmenter.at_strides(photo, segmenter.trained_strides)
        self.palette = tuple(safe_colors(segmenter.classes) or segmenter.palette)

    @cached_property
    def classes(self) -> list[Found]:
        """The largest classes of the photo, the background last."""
        found = self.found[self.segmenter.stride].found()
        return sorted(found, key=lambda one: one.name == BACKGROUND)[:MOST]

    @property
    def main(self) -> Found:
        """The class that is followed through the network."""
        return self.classes[0]

    @cached_property
    def reach(self) -> float:
        """The score that is coloured most; few are larger."""
        ids = [one.id for one in self.classes]
        return float(np.quantile(np.abs(self.maps["score_fr"][ids]), 0.98))

    def heat(self, caption: str, scores: np.ndarray, reach: float = 0.0) -> Picture:
        """Show (h, w) scores, by the lesson's scale or one of their own, with their range."""
        span = f"{scores.min():.1f} to {scores.max():.1f}"
        return Picture(f"{caption}: {span}", sketches.heat(scores, reach or self.reach), True)

    def overlay(self, caption: str, stride: int) -> Picture:
        """Show what is found at a stride, at the size that the network sees."""
        painted = replace(self.found[stride], palette=self.palette).overlay(self.photo, 0.75)
        return Picture(caption, painted.resize(self.seen.size))
