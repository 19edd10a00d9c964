"""What can be wrong with one pair of a photo and its mask, each in one line with its fix.

One convention: a problem that makes training or scoring wrong is an error; what they can live
with is a warning. Files are named as seen from the data set's folder.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..metrics import IGNORE_INDEX
from ..palette import Color, hex_code
from ..photo import BOMBS, BROKEN, is_turned
from .pairs import Files
from .source import INVALID, Source

SHOWN = 10  # colours and values of a mask that are listed
ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B")


class Problem(NamedTuple):
    """One line of the report; those of one kind are counted together."""

    kind: str
    file: str
    text: str
    is_error: bool = True


def _open(path: Path, pixels: bool) -> Image.Image:
    with Image.open(path) as image:
        if pixels:
            image.load()
    return image


def _listed(items: Sequence[object]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more


def _colors(mask: Image.Image, palette: dict[str, Color], foreign: str) -> str:
    """Describe the colours of a decoded mask that should have held class numbers.

    If ``foreign`` is given, it is said of colours most of which are none of the palette's.
    """
    # Pillow types the colours of any mode; those of RGB are triples.
    found: list[tuple[int, Color]] = (
        mask.convert("RGB").getcolors(mask.width * mask.height) or []  # type: ignore[assignment]
    )
    colors = [color for _, color in sorted(found, reverse=True)]
    if all(red == green == blue for red, green, blue in colors):
        return "its channels are equal, so save it as greyscale"
    names = {color: f" {name}" for name, color in palette.items()}
    if foreign and 2 * sum(color in names for color in colors) < len(colors):
        return foreign
    table = [hex_code(color) + names.get(color, "") for color in colors]
    return f"save a class number for each of its {len(table)} colours: {_listed(table)}"


@dataclass(frozen=True)
class Inspector:
    """Looks at the pairs of a data set, one at a time.

    Attributes:
        source: the data set.
        root: its folder.
        palette: all its classes with their colours.
        table: what each stored mask value means, see ``Source.labels``.
    """

    source: Source
    root: Path
    palette: dict[str, Color]
    table: np.ndarray

    def name(self, path: Path) -> str:
        """Name a file as seen from the data set's folder."""
        return path.relative_to(self.root).as_posix()

    def unpaired(self, files: Files) -> Iterator[Problem]:
        """Find photos without masks and masks without photos."""
        for this, that, here, there, ending in (
            (*files, "photo", "mask", "png"),
            (*files[::-1], "mask", "photo", "jpg"),
        ):
            for stem in sorted(this.keys() - that.keys()):
                text = f"has no {there}; add {stem}.{ending} or leave the {here} out"
                yield Problem(f"{here}s without a {there}", self.name(this[stem]), text)

    def nested(self, files: Files) -> Iterator[Problem]:
        """Find folders among the photos and masks: what is in them is not read, without a word."""
        places = {file.parent for by_stem in files for file in by_stem.values()}
        for place in sorted(filter(Path.is_dir, places)):
            inner = sorted(one.name for one in os.scandir(place) if one.is_dir())
            for name in inner:
                if not name.startswith("."):
                    text = "is a folder, and what is in it is not read; move it one up"
                    where = self.name(place / name)
                    yield Problem("folders in folders", where, text, is_error=False)

    def _headers(
        self, pair: tuple[Path, Path], photo: Image.Image, mask: Image.Image, pixels: bool
    ) -> Iterator[Problem]:
        photo_name, mask_name = map(self.name, pair)
        if photo.mode.startswith(("I", "F")):
            text = f"has mode {photo.mode}, of which 8 bits are used"
            yield Problem("photos of more than 8 bits", photo_name, text, is_error=False)
        if mask.mode not in ONE_CHANNEL:
            foreign = self.source.colored
            fix = foreign or "save class numbers, in one channel"
            fix = _colors(mask, self.palette, foreign) if pixels else fix
            text = f"is {mask.mode} where class numbers are expected; {fix}"
            yield Problem("masks with colours", mask_name, text)
        elif mask.format == "JPEG":
            text = "is a JPEG, which alters class numbers; export it again as PNG"
            yield Problem("masks that are JPEG", mask_name, text)
        if photo.size != mask.size:
            turned = photo.size == mask.size[::-1]
            fix = "export both at one size"
            fix = "one is turned, perhaps by EXIF; save it upright" if turned else fix
            text = "is {}x{} but its photo is {}x{}; ".format(*mask.size, *photo.size) + fix
            yield Problem("masks of another size than their photo", mask_name, text)
        # Other files than JPEG tell of a turn only once they are decoded.
        elif (pixels or photo.format == "JPEG") and is_turned(photo):
            text = "is read as it is stored, but turned where it is served; save it upright"
            yield Problem("photos turned by EXIF", photo_name, text, is_error=False)

    def _values(self, name: str, values: np.ndarray) -> Iterator[Problem]:
        inside = values.clip(0, 255)
        labels = np.where(values == inside, self.table[inside], INVALID)
        if (labels == INVALID).any():
            strange = np.unique(values[labels == INVALID]).tolist()
            first, last = self.source.first, self.source.first + len(self.palette) - 1
            # One too high, the last class is the first number that means nothing.
            is_shifted = strange == np.flatnonzero(self.table == INVALID)[:1].tolist() and last
            fix = "correct it"
            if is_shifted and not first and (values == 0).any():
                fix = "it has 0 as well: is background, as the first class, missing in classes.txt?"
            elif is_shifted:
                fix = "if numbers are one too high in all masks, subtract 1"
            text = f"has {_listed(strange)}, but classes are {first} to {last}; {fix}"
            yield Problem("masks with values that are no class", name, text)
        elif self.source.first and (values == 0).any() and (values == IGNORE_INDEX).any():
            # One too low, 0 has become 255, and the first class is 0.
            text = "has both 0 and 255, so its numbers are one too low; add 1, and 255 becomes 0"
            yield Problem("masks with numbers one too low", name, text)
        elif (labels == IGNORE_INDEX).all():
            text = "has only ignored pixels; label it or leave it out"
            yield Problem("masks with only ignored pixels", name, text, is_error=False)

    def inspect(self, pair: tuple[Path, Path], pixels: bool) -> tuple[list[Problem], np.ndarray]:
        """Look at the headers of a pair and, if asked to, at its pixels.

        Returns:
            The problems, and how often each of 256 stored values occurs (zeros if not known).
        """
        if self.source.is_drawn:  # and has no headers
            drawn = self.source.read(*pair)[1] if pixels else np.empty(0, np.uint8)
            return [], np.bincount(drawn.ravel(), minlength=256)
        images, problems = [], []
        for path in pair:
            try:
                images.append(_open(path, pixels))
            except FileNotFoundError:
                text = "is not there; add it or take it off the list"
                problems.append(Problem("missing files", self.name(path), text))
            except (*BROKEN, *BOMBS) as error:
                text = f"cannot be read ({error}); replace it"
                problems.append(Problem("unreadable files", self.name(path), text))
        problems = problems or list(self._headers(pair, images[0], images[1], pixels))
        if problems or not pixels:
            return problems, np.zeros(256, np.int64)
        values = np.array(images[1]).astype(np.int64)
        problems = list(self._values(self.name(pair[1]), values))
        return problems, np.bincount(values.clip(0, 255).ravel(), minlength=256)
