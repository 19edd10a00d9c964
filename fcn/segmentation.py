"""What a photo was found to show: class ids and confidences at the photo's size.

Areas, pictures and the JSON summary are read off them. The convention: arrays are (H, W), pixels
count from the top left corner, and shares are fractions of 1. Nothing here knows how the result
was computed.
"""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from .errors import InputError
from .palette import BACKGROUND, Color, hex_code

ENDINGS = (".png", "_overlay.png", ".json")  # of the three files that ``save`` writes
STRIP_FLOATS = 1 << 21  # 8 MB: numbers that are worked on at once, whatever the photo's size


def strips(height: int, floats_per_row: int) -> Iterator[slice]:
    """Cut rows into slices of at most ``STRIP_FLOATS`` numbers, and of at least one row."""
    rows = max(1, STRIP_FLOATS // floats_per_row)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def encode_png(image: Image.Image) -> bytes:
    """A PNG file, somewhat larger than at Pillow's own level of compression, in far less time."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def choose_stems(photos: Sequence[Path], folder: Path | None = None) -> list[str]:
    """Choose names for the results so that none overwrites another, or a file of another kind.

    Args:
        photos: The photos, in order.
        folder: Where the results will be, if that may hold files.

    Returns:
        For each photo its own stem, with a number where that is taken. Where all three files of a
        stem are there, they are taken for an earlier result, to be replaced.
    """
    taken: set[str] = set()
    there: set[str] = set()
    if folder is not None and folder.is_dir():
        # Lower case, because some file systems take A.png and a.png for one file.
        there = {file.name.lower() for file in folder.iterdir()}
        taken = {one.name.lower() for one in photos if one.resolve().parent == folder.resolve()}
    stems = []
    for photo in photos:
        for number in itertools.count(1):
            stem = photo.stem if number == 1 else f"{photo.stem}-{number}"
            names = {f"{stem}{ending}".lower() for ending in ENDINGS}
            if not names & taken and (names <= there or not names & there):
                break
        taken |= names
        stems.append(stem)
    return stems


def is_result(file: Path) -> bool:
    """Whether a picture is one of the three files of a result, all of which are there."""
    stem = file.stem.removesuffix("_overlay") if file.suffix == ".png" else ""
    return bool(stem) and all(file.with_name(f"{stem}{ending}").is_file() for ending in ENDINGS)


@dataclass(frozen=True)
class Found:
    """One class in one photo.

    Attributes:
        id: Its label.
        name: Its name, as the checkpoint spells it.
        color: Its colour.
        pixels: Its area, at least 1.
        share: Its part of the photo, in (0, 1].
        confidence: Mean confidence of its pixels, in [0, 1].
    """

    id: int
    name: str
    color: Color
    pixels: int
    share: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result of segmenting one photo.

    Attributes:
        labels: (H, W) uint8 class ids.
        confidence: (H, W) float32 in [0, 1], the probability of the class that was chosen.
        classes: Names in label order.
        palette: One colour per class.
        weights: Where the weights came from.
        seconds: How long it took.
    """

    labels: np.ndarray
    confidence: np.ndarray
    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    weights: str
    seconds: float

    @property
    def size(self) -> tuple[int, int]:
        """The photo's (width, height)."""
        return self.labels.shape[1], self.labels.shape[0]

    @property
    def mean_confidence(self) -> float:
        """Mean confidence over the photo, in [0, 1]."""
        return float(self.confidence.mean(dtype=np.float64))

    @cached_property
    def _areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each class its pixels, and the sum of their confidences."""
        count = len(self.classes)
        pixels, sums = np.zeros(count, np.int64), np.zeros(count)
        for rows in strips(*self.labels.shape):
            ids = self.labels[rows].ravel().astype(np.intp)
            pixels += np.bincount(ids, minlength=count)
            sums += np.bincount(ids, self.confidence[rows].ravel(), minlength=count)
        return pixels, sums

    def found(self) -> list[Found]:
        """Every class that occurs, largest first."""
        pixels, sums = self._areas
        order = [i for i in np.argsort(-pixels, kind="stable").tolist() if pixels[i]]
        return [
            Found(
                id=i,
                name=self.classes[i],
                color=self.palette[i],
                pixels=int(pixels[i]),
                share=float(pixels[i] / self.labels.size),
                confidence=min(float(sums[i] / pixels[i]), 1.0),
            )
            for i in order
        ]

    def summary(self) -> dict[str, Any]:
        """The result in plain JSON types: every class that occurs, largest first."""
        classes = [
            {
                "id": one.id,
                "name": one.name,
                "color": hex_code(one.color),
                "pixels": one.pixels,
                "share": one.share,
                "confidence": round(one.confidence, 4),
            }
            for one in self.found()
        ]
        return {
            "classes": classes,
            "size": list(self.size),
            "weights": self.weights,
            "seconds": round(self.seconds, 3),
        }

    def palette_png(self) -> Image.Image:
        """A mode P picture whose values are the class ids and whose colours are the palette."""
        image = Image.fromarray(self.labels)
        image.putpalette([value for color in self.palette for value in color])
        return image

    def overlay(self, photo: Image.Image, opacity: float = 0.6) -> Image.Image:
        """Paint the classes over their photo: ``(1 - a) * photo + a * colour`` on 8-bit sRGB.

        Args:
            photo: The photo that was segmented, RGB.
            opacity: ``a``, from 0 (the photo) to 1 (the colours). ``background`` stays unpainted.

        Raises:
            InputError: If the photo has another size or the opacity is outside its range.
        """
        if not isinstance(photo, Image.Image):
            raise InputError("Give the photo itself, as fcn.photo.open_photo makes it of a file.")
        if photo.size != self.size:
            raise InputError(f"The photo is {photo.size} pixels, the segmentation {self.size}.")
        if not isinstance(opacity, int | float) or not 0 <= opacity <= 1:
            raise InputError(f"Opacity is {opacity!r}, but goes from 0 to 1.")
        alpha = np.array([opacity * (name != BACKGROUND) for name in self.classes], np.float32)
        paint = np.array(self.palette, np.float32) * alpha[:, None]
        values = np.arange(256, dtype=np.float32) * (1 - alpha)[:, None]  # (classes, 256)
        bands = []
        for band, color in zip(photo.convert("RGB").split(), paint.T, strict=True):
            # A class and a photo's value make one of few results, so they are looked up.
            table = np.rint(values + color[:, None]).astype(np.uint8).ravel()
            shown = np.array(band)
            for rows in strips(*shown.shape):
                places = self.labels[rows].astype(np.intp) * 256 + shown[rows]
                shown[rows] = table[places]
            bands.append(Image.fromarray(shown))
        return Image.merge("RGB", bands)

    def save(
        self, folder: Path, stem: str, photo: Image.Image, opacity: float = 0.6
    ) -> tuple[Path, Path, Path]:
        """Write ``stem.png`` (class ids), ``stem_overlay.png`` and ``stem.json``.

        Returns:
            The three paths, in this order.
        """
        folder.mkdir(parents=True, exist_ok=True)
        mask, overlay, summary = (folder / f"{stem}{ending}" for ending in ENDINGS)
        text = json.dumps(self.summary(), indent=1, ensure_ascii=False) + "\n"
        contents = {
            mask: encode_png(self.palette_png()),
            overlay: encode_png(self.overlay(photo, opacity)),
            summary: text.encode(),
        }
        with TemporaryDirectory(prefix=".fcn-", dir=folder) as place:
            for file, content in contents.items():
                Path(place, file.name).write_bytes(content)
            for file in contents:  # all three or none, if the disk is full
                os.replace(Path(place, file.name), file)
        return mask, overlay, summary
