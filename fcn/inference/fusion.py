"""The head without torch: from three score maps to logits, by the same numbers as ``head.py``.

A deconvolution of kernel 2s and stride s reaches each block of s x s pixels from two by two scores
alone, so it is a product of those four with four parts of its kernel. Written so, it takes numpy a
fraction of the time of a deconvolution on a CPU, and what is not asked for is not computed: the
scores of 150 classes at a picture's size need not be in memory at once.
The convention of alignment is that of ``head.py``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

STRIDES = (32, 16, 8)
MAPS = ("score_fr", "score_pool4", "score_pool3")  # one at each of them
KERNELS = {"upscore32": 32, "upscore2": 2, "upscore16": 16, "upscore_pool4": 2, "upscore8": 8}
"""The deconvolutions, and the stride of each."""


class Upscored:
    """Scores brought up by a transposed convolution, window by window as they are asked for.

    Its kernel has 2s by 2s weights, its stride is s and its padding s/2, and each class is on its
    own. To numpy it is an array; ``[:, rows, columns]`` computes that window alone.

    Args:
        scores: (C, h, w) float32.
        kernel: (C, 1, 2s, 2s) float32.
        shape: (H, W) to cut to, at most (s h, s w).
        gpu: As torch names it: where ``decision.decide`` should make them; None for here.
        presence: (C,) how probable it is that the picture shows a class; None if that is unknown.

    Attributes:
        coarse: The scores, before they are brought up.
        kernel: What they are brought up by.
        shape: (C, H, W).
        dtype: float32.
        gpu: As given.
        presence: As given.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        scores: np.ndarray,
        kernel: np.ndarray,
        shape: tuple[int, ...],
        gpu: str | None = None,
        presence: np.ndarray | None = None,
    ) -> None:
        count, factor = len(scores), kernel.shape[-1] // 2
        self.coarse, self.kernel, self.gpu, self.presence = scores, kernel, gpu, presence
        self.shape = count, shape[0], shape[1]
        self._factor = factor
        self._padded = np.pad(scores, ((0, 0), (1, 1), (1, 1)))
        # Of a kernel's two halves, the second is what the score before reaches a block with.
        parts = kernel.reshape(count, 2, factor, 2, factor)[:, ::-1, :, ::-1]
        self._parts = parts.transpose(0, 2, 1, 3, 4).reshape(count, 1, factor, 4, factor)

    def __getitem__(self, window: tuple[slice, slice, slice]) -> np.ndarray:
        """Give the (C, rows, columns) float32 of a window; its slices have no step."""
        _, *lines = window
        cells, cuts = zip(*map(self._find_blocks, lines, self.shape[1:]), strict=True)
        near = self._padded[:, *cells]
        count, height, width = near.shape
        corners = [near[:, y : height - 1 + y, x : width - 1 + x] for y in (0, 1) for x in (0, 1)]
        blocks = np.stack(corners, -1)[:, :, None] @ self._parts
        whole = blocks.reshape(count, (height - 1) * self._factor, (width - 1) * self._factor)
        return whole[:, *cuts]

    def is_finite(self) -> bool:
        """Whether what all of it would be made of is finite."""
        return bool(np.isfinite(self.coarse).all() and np.isfinite(self._parts).all())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Give all of it."""
        return self[:, :, :].astype(dtype or self.dtype, copy=False)

    def _find_blocks(self, line: slice, length: int) -> tuple[slice, slice]:
        """The padded scores that blocks with these pixels are made of, and the pixels in them."""
        start, stop, _ = line.indices(length)
        before, cut = divmod(start + self._factor // 2, self._factor)
        stop += cut - start
        return slice(before, before + (stop - 1) // self._factor + 2), slice(cut, stop)


def fuse(
    maps: Mapping[str, np.ndarray],
    kernels: Mapping[str, np.ndarray],
    stride: int,
    shape: tuple[int, ...],
    gpu: str | None = None,
) -> Upscored:
    """Fuse score maps from coarse to fine and bring them to the picture's size.

    Args:
        maps: By name, ``score_fr`` (C, H/32, W/32), and as far as the stride needs them
            ``score_pool4`` (C, H/16, W/16) and ``score_pool3`` (C, H/8, W/8); sizes round up; and
            maybe ``presence`` (C,), logits.
        kernels: By name, ``KERNELS``: the weights (C, 1, 2s, 2s) of the deconvolutions.
        stride: 32, 16 or 8: the finest map that is fused in.
        shape: The picture's (H, W).
        gpu: See ``Upscored``.

    Returns:
        Logits (C, H, W) float32, computed when they are asked for.
    """
    presence = np.exp(-np.logaddexp(0, -maps["presence"])) if "presence" in maps else None
    fused, kernel = add_skips(maps, kernels, stride), kernels[f"upscore{stride}"]
    return Upscored(fused, kernel, shape, gpu, presence)


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
    """All of ``Upscored``, (C, H, W) float32."""
    return np.asarray(Upscored(scores, kernel, shape))
