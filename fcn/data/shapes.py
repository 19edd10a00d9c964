"""Scenes of simple shapes, drawn on the fly: a data set without files, for tests and first tries.

One convention: lengths are fractions of the scene's height, so that one seed gives the same
scene at any size; only the grain is finer. A label has hard edges: a pixel belongs to the topmost
shape that covers its centre. Colour is a hint, so that a network learns within a minute; one
shape in ten wears any colour, and only its form tells.
"""

import colorsys

import numpy as np
from PIL import Image

from ..palette import BACKGROUND, Color, distinct

# name: (number of sides, their distance from the centre at radius 1, usual hue)
_FORMS = {
    "circle": (0, 1.0, 0.0),
    "square": (4, 0.86, 0.33),
    "triangle": (3, 0.7, 0.66),
}
_DISGUISED = 0.1  # share of the shapes that wear any hue
SHAPES: dict[str, Color] = {
    BACKGROUND: (0, 0, 0),
    **dict(zip(_FORMS, distinct(len(_FORMS)), strict=True)),
}


def _outside(form: str, x: np.ndarray, y: np.ndarray, turn: float) -> np.ndarray:
    """Give how far points lie outside of a form of radius 1 at the origin, negative inside."""
    sides, inner, _ = _FORMS[form]
    if not sides:
        return np.hypot(x, y) - inner
    angles = turn + 2 * np.pi * np.arange(sides) / sides
    return np.max([x * np.cos(angle) + y * np.sin(angle) for angle in angles], axis=0) - inner


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint soft clouds of two muted colours, (H, W, 3) in [0, 1]."""
    clouds = Image.fromarray(rng.random((5, 6), dtype=np.float32))
    mix = np.asarray(clouds.resize((width, height), Image.Resampling.BICUBIC))[..., None]
    one, other = (_rgb(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.5, 0.95)) for _ in range(2))
    return mix * one + (1 - mix) * other


def _shape_color(rng: np.random.Generator, form: str) -> np.ndarray:
    hue = _FORMS[form][2] + rng.normal(0, 0.04)
    if rng.random() < _DISGUISED:
        hue = rng.random()
    return _rgb(hue, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95))


def draw_scene(seed: int, size: int = 96) -> tuple[Image.Image, np.ndarray]:
    """Draw a few shapes, with shading and shadows, on clouded, grainy ground.

    Args:
        seed: one scene each.
        size: width in pixels, from 1 up; the height is three quarters of it.

    Returns:
        The RGB picture and its labels, (H, W) uint8: 0 is background, then the order of ``SHAPES``.
    """
    rng = np.random.default_rng(seed)
    height, width = max(1, size * 3 // 4), size
    y, x = (np.mgrid[:height, :width] + 0.5) / height
    canvas = _ground(rng, height, width)
    labels = np.zeros((height, width), np.uint8)
    placed: list[tuple[float, float, float]] = []
    for _ in range(12):  # tries: those stay that hide little of the others
        form = str(rng.choice(list(_FORMS)))
        radius, turn = rng.uniform(0.2, 0.42), rng.uniform(0, 2 * np.pi)
        left, top = rng.uniform(0.1, 1.23), rng.uniform(0.1, 0.9)
        if any(np.hypot(left - a, top - b) < 0.9 * (radius + r) for a, b, r in placed):
            continue
        placed.append((left, top, radius))
        u, v = (x - left) / radius, (y - top) / radius
        outside = _outside(form, u, v, turn)
        shadow = (0.5 - 2.5 * _outside(form, u - 0.1, v - 0.15, turn)).clip(0, 1)
        cover = (0.5 - outside * radius * height).clip(0, 1)[..., None]  # edges one pixel soft
        light = 1 - 0.18 * (u + v).clip(-1.2, 1.2)
        canvas *= 1 - 0.25 * shadow[..., None]
        canvas += cover * (_shape_color(rng, form) * light[..., None] - canvas)
        labels[outside < 0] = list(SHAPES).index(form)
    canvas += rng.normal(0, 0.03, canvas.shape)
    return Image.fromarray((canvas.clip(0, 1) * 255).round().astype(np.uint8)), labels
