"""Paired augmentation: a photo and its labels, changed at random but together.

What is a training sample is also shown on the page, by servers that have no torch: so Pillow
changes pictures here, and nothing imports torch. The convention: lengths and places are first
down, then across.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..metrics import IGNORE_INDEX
from ..resizing import enlargement

GREY = (123, 117, 104)  # ImageNet's mean colour: nothing, once the network has normalised it


class Augmentation(NamedTuple):
    """How samples are augmented.

    Attributes:
        crop_size: (H, W) of a sample, in pixels; what the photo does not fill is 255 in the labels
            and grey in the photo.
        size: Long side in pixels that a photo has at scale 1; as where it is served, it is enlarged
            twofold at most.
        scale: Range of a random factor on top, drawn evenly on a logarithmic scale.
        flip: Whether half of the samples, at random, are mirrored left to right.
        color: How far brightness, contrast and saturation may stray, in [0, 1); 0 for not at all.
    """

    crop_size: tuple[int, int] = (384, 384)
    size: int = 480
    scale: tuple[float, float] = (0.7, 1.4)
    flip: bool = True
    color: float = 0.2


class Window(NamedTuple):
    """What is cut out of a photo, and where it goes in the crop.

    Attributes:
        cuts: First pixel and length.
        resized: Length in the crop.
        place: First pixel in the crop.
    """

    cuts: list[tuple[int, int]]
    resized: list[int]
    place: list[int]


def draw_window(
    shape: tuple[int, int], augmentation: Augmentation, draws: np.random.Generator
) -> Window:
    """Draw a scale, and the window of a photo of (height, width) that fits the crop at it."""
    low, high = augmentation.scale
    factor = low * (high / low) ** draws.random() * enlargement(max(shape), augmentation.size)
    cuts, resized, place = [], [], []
    for side, crop in zip(shape, augmentation.crop_size, strict=True):
        cut = min(side, max(1, round(crop / factor)))
        out = crop if cut < side else min(crop, max(1, round(side * factor)))
        cuts.append((int(draws.integers(side - cut + 1)), cut))
        resized.append(out)
        place.append(int(draws.integers(crop - out + 1)))
    return Window(cuts, resized, place)


def cut_window(picture: Image.Image, window: Window) -> Image.Image:
    """Cut the window out of a photo (RGB) or labels (L), and resize it.

    To resize the whole photo first takes longer, for nearly the same pixels. Of labels, the
    nearest pixel counts.
    """
    resampling = Image.Resampling.NEAREST if is_mask(picture) else Image.Resampling.BILINEAR
    (top, height), (left, width) = window.cuts
    cut = picture.crop((left, top, left + width, top + height))
    return cut.resize((window.resized[1], window.resized[0]), resampling)


def pad(picture: Image.Image, window: Window, crop_size: tuple[int, int]) -> Image.Image:
    """Put what was cut into its place in the crop."""
    height, width = crop_size
    fill = IGNORE_INDEX if is_mask(picture) else GREY
    crop = Image.new(picture.mode, (width, height), fill)
    crop.paste(picture, (window.place[1], window.place[0]))
    return crop


def change_colors(
    photo: Image.Image, order: Sequence[int], factors: Sequence[float]
) -> Image.Image:
    """Change brightness, contrast and saturation by factors, in some order."""
    changes = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for one in order:
        photo = changes[one](photo).enhance(factors[one])
    return photo


def is_mask(picture: Image.Image) -> bool:
    """Whether a picture holds labels."""
    return picture.mode == "L"


def augment(
    pictures: Sequence[Image.Image], augmentation: Augmentation, draws: np.random.Generator
) -> list[Image.Image]:
    """Change a photo (RGB), and labels (L) of its size along with it, as a training sample is.

    Returns:
        Pictures of its ``crop_size``: what lies outside the photo is grey, and 255 in labels.
    """
    width, height = pictures[0].size
    window = draw_window((height, width), augmentation, draws)
    is_mirrored = augmentation.flip and draws.random() < 0.5
    order = draws.permutation(3).tolist()
    factors = draws.uniform(1 - augmentation.color, 1 + augmentation.color, 3).tolist()
    crops = []
    for picture in pictures:
        part = cut_window(picture, window)
        if augmentation.color and not is_mask(picture):
            part = change_colors(part, order, factors)
        crop = pad(part, window, augmentation.crop_size)
        crops.append(ImageOps.mirror(crop) if is_mirrored else crop)
    return crops
