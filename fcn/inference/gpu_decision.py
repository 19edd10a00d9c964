"""``decision.decide`` where the network runs, so that a GPU does not wait for a few CPU cores.

The numbers are the same: scores are brought to size bilinearly, and anti-aliased where the photo
is the smaller of the two. At a photo's size the scores of 150 classes need not fit in memory, so
they are made some classes at a time; the best class and the sum of all are kept as they come.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..head import deconvolve
from .fusion import Upscored

FLOATS = 2**24  # of scores made at a time, 64 MB: a training run has the rest of the memory


@contextmanager
def told_of_memory() -> Iterator[None]:
    """Make one sentence of what a GPU raises when its memory is used up."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            "The GPU's memory is too small for this photo, or other programs use it: make the photo"
            " smaller, or do without the GPU (CUDA_VISIBLE_DEVICES= in front of the command)."
        ) from error


@told_of_memory()
@torch.inference_mode()
def decide(
    scores: Upscored,
    size: tuple[int, int],
    temperature: float,
    present: np.ndarray,
    background: int | None,
    sure: np.ndarray,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the best class of every pixel of a photo.

    Args:
        scores: (C, h, w) logits.
        size: The photo's (width, height).
        temperature: Logits are divided by it.
        present: Ids of the classes to choose from, rising, at least one.
        background: See ``decision.decide``.
        sure: See there.
        device: That makes the scores.

    Raises:
        InputError: If the device's memory is too small.

    Returns:
        Labels (height, width) uint8 and confidences (height, width) float32, as ``decision.decide``
        gives them.
    """
    (count, *seen), shape = scores.shape, size[::-1]
    coarse = torch.from_numpy(scores.coarse).to(device)
    kernel = torch.from_numpy(scores.kernel).to(device)
    # With a background, absent classes count as it, and are added up apart.
    own = present if background is None else present[present != background]
    ids = torch.from_numpy(own).to(device)
    labels = torch.full(shape, int(present[0]), device=device)
    best = torch.full(shape, -math.inf, device=device)
    total = torch.full(shape, -math.inf, device=device)  # log of the sum of powers
    rest = total  # the same of those that count as background
    certain = total  # the same, less the part of each that is something else after all
    share = 1 - torch.from_numpy(sure).to(device, torch.float32)
    if background is not None:
        share[background] = 1
    is_rest = torch.ones(count, dtype=torch.bool, device=device)
    is_rest[ids] = False
    at_once = max(1, FLOATS // max(math.prod(seen), math.prod(shape)))
    for first in range(0, count, at_once):
        some = slice(first, first + at_once)
        large = _enlarge(coarse[some], kernel[some], seen, shape) / temperature
        total = torch.logaddexp(total, large.logsumexp(0))
        here = ids[(first <= ids) & (ids < first + at_once)]
        if len(here):
            score, place = large[here - first].max(0)
            labels = torch.where(score > best, here[place], labels)
            best = torch.maximum(best, score)
        if background is not None and is_rest[some].any():
            like_it = large[is_rest[some]]
            rest = torch.logaddexp(rest, like_it.logsumexp(0))
            like_it += share[some][is_rest[some]].log()[:, None, None]
            certain = torch.logaddexp(certain, like_it.logsumexp(0))
    if background is not None:
        is_first = (rest == best) & (labels > background)
        is_background = (rest > best) | is_first
        labels = torch.where(is_background, background, labels)
        best = torch.where(is_background, certain, best)
    return labels.byte().cpu().numpy(), (best - total).exp().cpu().numpy()


def _enlarge(coarse: Tensor, kernel: Tensor, seen: list[int], shape: tuple[int, ...]) -> Tensor:
    """The (k, *shape) scores of some classes, seen by the network at another (height, width)."""
    scores = deconvolve(coarse[None], kernel)[:, :, : seen[0], : seen[1]]
    return F.interpolate(scores, shape, mode="bilinear", antialias=True)[0]
