"""Pictures of what a network is made of: score maps, filters, kernels.

The convention: arrays go in, small RGB pictures come out, a pixel for each number; who shows them
enlarges them.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..palette import Color

AGAINST, NEITHER, FOR = (33, 102, 172), (247, 247, 247), (217, 95, 2)  # blue, white, orange
GRID = 8  # filters in a row


def heat(scores: np.ndarray, reach: float) -> Image.Image:
    """Colour (h, w) scores: blue at ``-reach``, white at 0, orange at ``reach``."""
    places = scores / max(reach, 1e-12)
    ramps = zip(AGAINST, NEITHER, FOR, strict=True)
    bands = [np.interp(places, (-1, 0, 1), ramp) for ramp in ramps]
    return Image.fromarray(np.stack(bands, -1).round().astype(np.uint8))


def grey(values: np.ndarray) -> Image.Image:
    """Show (h, w) numbers from black, the least, to white, the largest."""
    return Image.fromarray(_to_bytes(values, (0, 1))).convert("RGB")


def paint(labels: np.ndarray, palette: Sequence[Color]) -> Image.Image:
    """Paint (h, w) uint8 class ids in their colours, and 255, which is no class, white."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette
    return Image.fromarray(table[labels])


def filters(weights: np.ndarray) -> Image.Image:
    """Lay out (N, 3, k, k) filters in a grid, each k x k pixels at its own contrast."""
    count, side = len(weights), weights.shape[-1] + 1
    tiles = _to_bytes(weights, (1, 2, 3)).transpose(0, 2, 3, 1)  # (N, k, k, 3)
    grid = np.full((-(-count // GRID) * side - 1, min(count, GRID) * side - 1, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // GRID * side, i % GRID * side
        grid[top : top + side - 1, left : left + side - 1] = tile
    return Image.fromarray(grid)


def _to_bytes(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Stretch numbers to 0..255 along some axes."""
    low, high = values.min(axes, keepdims=True), values.max(axes, keepdims=True)
    return ((values - low) / np.maximum(high - low, 1e-12) * 255).round().astype(np.uint8)
