"""Tiny data sets on disk in each layout, for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from fcn.palette import VOC

FOLDER_CLASSES = ["ground", "cat", "dog"]
LAYOUTS = {
    "scene_parsing": (
        "ADEChallengeData2016/images/{}/{}.jpg",
        "ADEChallengeData2016/annotations/{}/{}.png",
    ),
    "voc": ("VOCdevkit/VOC2012/JPEGImages/{1}.jpg", "VOCdevkit/VOC2012/SegmentationClass/{1}.png"),
    "camvid": ("CamVid/{}/{}.png", "CamVid/{}annot/{}.png"),
    "folder": ("{}/images/{}.jpg", "{}/masks/{}.png"),
}


def pair_paths(name: str, data: Path, split: str, stem: str) -> tuple[Path, Path]:
    """Where a pair's photo and mask lie; their folders are made."""
    photo, mask = (data / pattern.format(split, stem) for pattern in LAYOUTS[name])
    photo.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    return photo, mask


def write_mask(path: Path, values: list[list[int]], palette: bool = False) -> None:
    """Write stored values as a greyscale or a palette PNG."""
    mask = Image.fromarray(np.array(values, np.uint8))
    if palette:
        mask.putpalette([channel for color in VOC.values() for channel in color])
    mask.save(path)


def write_pair(
    name: str, data: Path, split: str, stem: str, values: list[list[int]]
) -> tuple[Path, Path]:
    """Add a pair with these stored values to a split of a data set."""
    photo, mask = pair_paths(name, data, split, stem)
    height, width = np.shape(values)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(photo)
    write_mask(mask, values, palette=name == "voc")
    if name == "voc":
        listing = data / "VOCdevkit/VOC2012/ImageSets/Segmentation" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        with listing.open("a") as lines:
            lines.write(stem + "\n")
    if name == "folder":
        (data / "classes.txt").write_text("\n".join(FOLDER_CLASSES) + "\n")
    return photo, mask
