"""The trainer's augmentation without torch, to be shown on the page.

A server of int8 weights has no torch, and where there is one, a look at this must not load it. So
what ``transforms.py`` does to tensors is done here to Pillow's
pictures. The tests hold the two together: equal draws give the same window, and the same pixels
but for rounding.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from .metrics import IGNORE_INDEX
from .segmenter import enlargement

GREY = (123, 117, 104)  # ImageNet's mean colour: nothing, once the network has normalised it
LARGEST_CROP = 1024  # pixels; a run's settings may come from anyone


class Recipe(NamedTuple):
    """How a run augments: see ``training_transform``, whose arguments these are."""

    crop_size: tuple[int, int] = (384, 384)
    size: int = 480
    scale: tuple[float, float] = (0.7, 1.4)
    flip: bool = True
    color: float = 0.2

    @classmethod
    def of(cls, config: Any, size: int) -> "Recipe":
        """Read a run's settings, as ``training.json`` has them.

        Args:
            config: Not trusted; the defaults stand in for settings that cannot be meant.
            size: The long side of photos, if they leave that to the data set.
        """
        try:
            height, width = (min(max(int(side), 1), LARGEST_CROP) for side in config["crop"])
            low, high = (min(max(float(one), 0.1), 10.0) for one in config["scale"])
            color = min(max(float(config["color"]), 0.0), 0.9)
            if not all(map(math.isfinite, (low, high, color))):
                raise ValueError("no number")
            longest = int(config["size"]) or size or cls().size
        except (LookupError, TypeError, ValueError, OverflowError):
            return cls(size=size or cls().size)
        return cls((height, width), longest, (low, high), bool(config.get("flip")), color)


class Window(NamedTuple):
    """What is cut out of a photo, and where it goes in the crop; each first down, then across.

    Attributes:
        cuts: First pixel and length.
        resized: Length in the crop.
        place: First pixel in the crop.
    """

    cuts: list[tuple[int, int]]
    resized: list[int]
    place: list[int]


def draw_window(shape: tuple[int, int], recipe: Recipe, draws: np.random.Generator) -> Window:
    """Draw a window of a photo of (height, width): ``RandomScaledCrop.make_params``."""
    low, high = recipe.scale
    factor = low * (high / low) ** draws.random() * enlargement(max(shape), recipe.size)
    window = Window([], [], [])
    for side, crop in zip(shape, recipe.crop_size, strict=True):
        cut = min(side, max(1, round(crop / factor)))
        out = crop if cut < side else min(crop, max(1, round(side * factor)))
        window.cuts.append((int(draws.integers(side - cut + 1)), cut))
        window.resized.append(out)
        window.place.append(int(draws.integers(crop - out + 1)))
    return window


def cut_window(picture: Image.Image, window: Window, recipe: Recipe) -> Image.Image:
    """Cut, resize and pad a photo (RGB) or labels (L): ``RandomScaledCrop.transform``."""
    is_mask = picture.mode == "L"
    (top, height), (left, width) = window.cuts
    resampling = Image.Resampling.NEAREST if is_mask else Image.Resampling.BILINEAR
    cut = picture.crop((left, top, left + width, top + height))
    resized = cut.resize((window.resized[1], window.resized[0]), resampling)
    fill = IGNORE_INDEX if is_mask else GREY
    crop = Image.new(picture.mode, (recipe.crop_size[1], recipe.crop_size[0]), fill)
    crop.paste(resized, (window.place[1], window.place[0]))
    return crop


def change_colors(
    photo: Image.Image, order: Sequence[int], factors: Sequence[float]
) -> Image.Image:
    """Change brightness, contrast and saturation by factors, in some order: ``v2.ColorJitter``."""
    changes = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for one in order:
        photo = changes[one](photo).enhance(factors[one])
    return photo


def augment(
    pictures: Sequence[Image.Image], recipe: Recipe, draws: np.random.Generator
) -> list[Image.Image]:
    """Change a photo (RGB), and labels (L) of its size along with it, as a training sample is.

    Returns:
        Pictures of ``recipe.crop_size``: what lies outside the photo is grey, and 255 in labels.
    """
    width, height = pictures[0].size
    window = draw_window((height, width), recipe, draws)
    crops = [cut_window(one, window, recipe) for one in pictures]
    if recipe.flip and draws.random() < 0.5:
        crops = [ImageOps.mirror(one) for one in crops]
    order = draws.permutation(3).tolist()
    factors = draws.uniform(1 - recipe.color, 1 + recipe.color, 3).tolist()
    return [one if one.mode == "L" else change_colors(one, order, factors) for one in crops]
