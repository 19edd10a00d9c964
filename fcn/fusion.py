"""The head without torch: from three score maps to logits, by the same numbers as ``head.py``.

A deconvolution of kernel 2s and stride s reaches each block of s x s pixels from two by two scores
alone, so it is a product of those four with four parts of its kernel. Written so, it takes numpy a
fraction of the time of a deconvolution on a CPU, and what was not asked for need not be computed.
The convention of alignment is that of ``head.py``.
"""

from collections.abc import Mapping

import numpy as np

MAPS = ("score_fr", "score_pool4", "score_pool3")  # at strides 32, 16 and 8
KERNELS = ("upscore32", "upscore2", "upscore16", "upscore_pool4", "upscore8")


def fuse(
    maps: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    stride: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Fuse score maps from coarse to fine and bring them to the picture's size.

    Args:
        maps: By name, ``score_fr`` (C, H/32, W/32), and as far as the stride needs them
            ``score_pool4`` (C, H/16, W/16) and ``score_pool3`` (C, H/8, W/8); sizes round up.
        kernels: By name, ``KERNELS``: the weights (C, 1, 2s, 2s) of the deconvolutions.
        stride: 32, 16 or 8: the finest map that is fused in.
        shape: The picture's (H, W).

    Returns:
        Logits (C, H, W) float32.
    """
    return upscore(add_skips(maps, kernels, stride), kernels[f"upscore{stride}"], shape)


def add_skips(
    maps: Mapping[str, np.ndarray], kernels: Mapping[str, np.ndarray], stride: int
) -> np.ndarray:
    """Fuse score maps, see ``fuse``, and leave them at their stride.

    Returns:
        Scores (C, H/stride, W/stride) float32.
    """
    fused = maps["score_fr"]
    if stride < 32:
        pool4 = maps["score_pool4"]
        fused = upscore(fused, kernels["upscore2"], pool4.shape[1:]) + pool4
    if stride < 16:
        pool3 = maps["score_pool3"]
        fused = upscore(fused, kernels["upscore_pool4"], pool3.shape[1:]) + pool3
    return fused


def upscore(scores: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A transposed convolution of kernel 2s, stride s and padding s/2, each class on its own.

    Args:
        scores: (C, h, w) float32.
        kernel: (C, 1, 2s, 2s) float32.
        shape: (H, W) to cut to, at most (s h, s w).

    Returns:
        (C, H, W) float32.
    """
    count, height, width = scores.shape
    factor = kernel.shape[-1] // 2
    padded = np.pad(scores, ((0, 0), (1, 1), (1, 1)))
    corners = [padded[:, y : y + height + 1, x : x + width + 1] for y in (0, 1) for x in (0, 1)]
    near = np.stack(corners, -1)[:, :, None]  # (C, h + 1, 1, w + 1, 4)
    # Of a kernel's two halves, the second is what the score before reaches a block with.
    parts = kernel.reshape(count, 2, factor, 2, factor)[:, ::-1, :, ::-1]
    parts = parts.transpose(0, 2, 1, 3, 4).reshape(count, 1, factor, 4, factor)
    blocks = near @ parts  # (C, h + 1, s, w + 1, s)
    whole = blocks.reshape(count, (height + 1) * factor, (width + 1) * factor)
    first = factor // 2
    return whole[:, first : first + shape[0], first : first + shape[1]]
