"""Pairs of a photo and its mask on disk: how they are found and how they are read.

One convention: a mask holds class numbers in one channel. A palette PNG is read by its numbers,
never by its colours; anything else that has colours is refused.
"""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ..errors import InputError
from ..photo import BOMBS, BROKEN, PHOTO_ENDINGS, flatten

Files = tuple[dict[str, Path], dict[str, Path]]
"""Photos by stem, and masks by stem."""


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    # scandir knows of most files what they are, without asking the disk for each.
    files = [one.name for one in os.scandir(folder) if not one.is_dir()] if folder.is_dir() else []
    for path in map(folder.joinpath, sorted(files)):
        if path.suffix.lower() in PHOTO_ENDINGS and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(
                    f"{found[path.stem]} and {path.name} differ only in their endings, so that "
                    "pairs cannot be told; remove one of them"
                )
            found[path.stem] = path
    return found


def two_folders(photos: str, masks: str) -> Callable[[Path, str], Files]:
    """List the files of a split that is two folders, such as ``{}/images`` and ``{}/masks``."""

    def files(root: Path, split: str) -> Files:
        return _by_stem(root / photos.format(split)), _by_stem(root / masks.format(split))

    return files


def folders_with(pattern: str, partner: str) -> Callable[[Path], list[str]]:
    """List the splits that are folders matching a pattern and have a partner folder."""

    def splits(root: Path) -> list[str]:
        names = sorted(path.name for path in root.glob(pattern) if path.is_dir())
        return [name for name in names if (root / partner.format(name)).is_dir()]

    return splits


def voc_files(root: Path, split: str) -> Files:
    """List the files that a split's text file names, one a line; masks only if they exist."""
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        lines = listing.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{listing} is not UTF-8 text ({error}); save it as UTF-8") from error
    named = [line.split()[0] for line in lines if line.strip()]
    # Some lists have the paths of photo and mask in a line.
    stems = [PurePosixPath(name).stem if "/" in name else name for name in named]
    masks = {
        stem: path
        for name in ("SegmentationClassAug", "SegmentationClass")  # SBD's usual place; VOC's counts
        for stem in stems
        if (path := root / name / f"{stem}.png").is_file()
    }
    return {stem: root / "JPEGImages" / f"{stem}.jpg" for stem in stems}, masks


def voc_splits(root: Path) -> list[str]:
    """List the splits that a VOC folder has text files for."""
    return sorted(path.stem for path in root.glob("ImageSets/Segmentation/*.txt"))


def read_photo(path: Path) -> Image.Image:
    """Read a photo as RGB, as it is stored: masks know nothing of EXIF rotation.

    Colour profiles are left aside too, as those who publish scores on the data leave them. All else
    is as for a photo that is served.
    """
    try:
        with Image.open(path) as photo:
            photo.load()
            return flatten(photo)
    except (*BROKEN, *BOMBS) as error:
        raise InputError(f"{path} cannot be read ({error}); replace the file") from error


def read_mask(path: Path) -> np.ndarray:
    """Read a mask's stored values, (H, W) uint8.

    Raises:
        InputError: for a file that is damaged or holds colours instead of class numbers.
    """
    try:
        with Image.open(path) as mask:
            mode, values = mask.mode, np.array(mask)
    except (*BROKEN, *BOMBS) as error:
        raise InputError(f"{path} cannot be read ({error}); replace the file") from error
    if values.ndim != 2 or values.min() < 0 or values.max() > 255:
        raise InputError(
            f"{path} has mode {mode}, but a mask has one channel with class numbers up to 255: save"
            " the numbers, not their colours, as a grey or palette PNG"
        )
    return values.astype(np.uint8)


def read_pair(photo: Path, mask: Path) -> tuple[Image.Image, np.ndarray]:
    """Read a photo and the stored values of its mask, and insist on equal sizes."""
    image, values = read_photo(photo), read_mask(mask)
    if image.size != values.shape[::-1]:
        raise InputError(
            f"{mask} is {values.shape[1]}x{values.shape[0]} but its photo is "
            f"{image.width}x{image.height}; both must have the same size"
        )
    return image, values
