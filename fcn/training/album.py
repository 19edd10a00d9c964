"""The same few pictures, segmented again and again while a network learns.

From blobs to silhouettes: pictures of the training split, of the validation split and of the
trainer's own choice. The convention: a look is taken at steps 10, 20, 50, 100, 200, 500 and so on,
early steps being the telling ones, and at the end; what was seen is kept as label maps in the run's
folder, so a resumed run goes on with the same album. A label map is named by its picture's pixels,
so that it is never taken for that of another picture.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from ..data.datasets import SegmentationDataset, spread
from ..metrics import IGNORE_INDEX
from ..palette import BACKGROUND, Color
from ..photo import open_photo
from ..segmentation import Segmentation
from ..segmenter import Segmenter

SIDE = 320  # long side of what is kept, in pixels
PER_SPLIT = 2  # pictures of each split
COLUMNS = 7  # steps in a strip
OPACITY = 0.8


@dataclass(frozen=True)
class Picture:
    """A picture that is looked at.

    Attributes:
        group: ``train``, ``val`` or ``watched``: which strip it belongs to.
        photo: RGB, small.
        labels: (H, W) uint8 of the same size, or None if nobody knows them.
    """

    group: str
    photo: Image.Image
    labels: np.ndarray | None

    @cached_property
    def key(self) -> str:
        """Eight digits that tell this photo from others."""
        pixels = np.array(self.photo)
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:8]


def is_due(step: int) -> bool:
    """Whether a look is taken at a step.

    >>> [step for step in range(0, 3000, 10) if is_due(step)]
    [10, 20, 50, 100, 200, 500, 1000, 2000]
    """
    return step >= 10 and str(step).rstrip("0") in ("1", "2", "5")


def choose_pictures(
    train_set: SegmentationDataset, val_set: SegmentationDataset, watch: Iterable[str]
) -> list[Picture]:
    """Pictures of both splits, evenly spread, and the photo files named in ``watch``.

    Raises:
        InputError: If a file is not a photo.
    """
    pictures = []
    for group, dataset in (("train", train_set), ("val", val_set)):
        for part in range(1, PER_SPLIT + 1):
            photo, labels = dataset.read(len(dataset) * part // (PER_SPLIT + 1))
            pictures.append(shrink(Picture(group, photo, labels)))
    watched = (Picture("watched", open_photo(file, name=file), None) for file in watch)
    return [*pictures, *map(shrink, watched)]


def shrink(picture: Picture) -> Picture:
    """The picture at no more than ``SIDE``; labels are taken, never mixed."""
    photo, labels = picture.photo.copy(), picture.labels
    photo.thumbnail((SIDE, SIDE))
    if labels is not None:
        labels = np.array(Image.fromarray(labels).resize(photo.size, Image.Resampling.NEAREST))
    return Picture(picture.group, photo, labels)


class Album:
    """What the network made of each picture at each look.

    Args:
        folder: Where the label maps are kept, as ``STEP-KEY.png``.
        pictures: The same for all looks.
        classes: Names in label order.
        palette: One colour per class.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Picture],
        classes: Sequence[str],
        palette: Sequence[Color],
    ) -> None:
        self.folder = folder
        self.pictures = pictures
        self.classes = tuple(classes)
        self.palette = tuple(palette)

    def clear(self) -> None:
        """Forget what an earlier run left in the folder."""
        for file in self.files():
            file.unlink()

    def look(self, segmenter: Segmenter, step: int) -> tuple[float, str]:
        """Segment all pictures and keep what was found.

        Returns:
            The share of pixels of the most frequent class, and its name; 1 is a bad sign.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        counts = np.zeros(len(self.classes), np.int64)
        for picture in self.pictures:
            found = segmenter(picture.photo)
            found.palette_png().save(self.file(step, picture))
            counts += np.bincount(found.labels.ravel(), minlength=len(counts))
        return float(counts.max() / counts.sum()), self.classes[counts.argmax()]

    def file(self, step: int, picture: Picture) -> Path:
        """Where a picture's label map of a step is kept."""
        return self.folder / f"{step:07d}-{picture.key}.png"

    def files(self) -> Iterator[Path]:
        """Its own files: whatever else lies in the folder is left alone."""
        for file in self.folder.glob("*.png"):
            if re.fullmatch(r"\d{7,}-[0-9a-f]{8}\.png", file.name):
                yield file

    def steps(self, pictures: Sequence[Picture]) -> list[int]:
        """The steps at which all of some pictures were looked at, rising."""
        steps = sorted({int(file.stem.split("-")[0]) for file in self.files()})
        return [step for step in steps if all(self.file(step, one).exists() for one in pictures)]

    def strip(self, group: str) -> Figure | None:
        """A row for each picture of a group: photo, label if known, predictions as steps grow.

        Returns:
            None if the group has no picture, or none was looked at yet.
        """
        pictures = [one for one in self.pictures if one.group == group]
        every = self.steps(pictures)
        steps = [every[index] for index in spread(len(every), COLUMNS)]
        if not pictures or not steps:
            return None
        panels = []
        for picture in pictures:
            row = {"photo": picture.photo}
            if picture.labels is not None:
                row["label"] = self.paint(picture.photo, picture.labels)
            for step in steps:
                with Image.open(self.file(step, picture)) as kept:
                    row[f"step {step:,}"] = self.paint(picture.photo, np.array(kept))
            panels.append(row)
        return draw_panels(panels)

    def paint(self, photo: Image.Image, labels: np.ndarray) -> Image.Image:
        """A photo under the colours of its labels; ignored pixels stay the photo's."""
        return paint(photo, labels, self.classes, self.palette)


def paint(
    photo: Image.Image, labels: np.ndarray, classes: Sequence[str], palette: Sequence[Color]
) -> Image.Image:
    """Overlay labels (H, W) uint8, 255 for none, on their photo."""
    named = (*classes, BACKGROUND)
    shown = np.where(labels == IGNORE_INDEX, len(classes), labels).astype(np.uint8)
    whole: Any = np.ones(labels.shape, np.float32)
    colors = (*palette, (0, 0, 0))
    return Segmentation(shown, whole, named, colors, "", 0.0).overlay(photo, OPACITY)


def draw_panels(rows: Sequence[dict[str, Image.Image]]) -> Figure:
    """Rows of titled pictures, a column for each title of the first row."""
    titles = list(rows[0])
    heights = [max(p.height / p.width for p in row.values()) for row in rows]
    width = 1.7 * len(titles)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = Figure(figsize=(width, 0.25 + 1.7 * sum(heights)), dpi=100, layout=layout)
    grid = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for line, row in zip(grid, rows, strict=True):
        for axes, title in zip(line, titles, strict=True):
            axes.set_axis_off()
            axes.imshow(row[title])
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    return figure
