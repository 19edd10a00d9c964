"""From scores at the network's size to the class and confidence of every pixel of the photo.

Scores are brought to the photo's size, never class ids: bilinearly, with half-pixel centres, and
with anti-aliasing where the photo is the smaller of the two, as Pillow and torch do. For 12
megapixels the scores of 150 classes would take 7 GB, so they are made and used tile by tile; and of
many classes only those that come near the best one of a tile are looked at there. A class that the
network is nowhere sure of may be left out of the whole photo, see ``find_present``: what looks like
it is then background, as surely as the class is not there, or, where there is no background, the
next best.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ..cores import count_cores
from .fusion import Upscored

SIDE = 128  # pixels of a tile that is square
FEW = 16  # classes: to find out which of them come near the best one takes longer than it saves
# A class whose score is lower than another's by this has less than 2e-7 of its probability.
NEGLIGIBLE = 16.0


def decide(
    scores: np.ndarray | Upscored,
    size: tuple[int, int],
    temperature: float = 1.0,
    present: np.ndarray | None = None,
    background: int | None = None,
    sure: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the best class of every pixel of a photo.

    Args:
        scores: (C, h, w) float32 logits.
        size: The photo's (width, height).
        temperature: Logits are divided by it.
        present: Ids of the classes to choose from, rising, at least one; all if None.
        background: One of them, which is chosen by its probability and that of all absent classes.
        sure: (C,) how probable it is that the photo shows each class after all, see ``surest``; 0
            if None. So much of an absent class's probability does not count as the background's.

    Returns:
        Labels (height, width) uint8, the first of equals, and their softmax probabilities among
        all classes (height, width) float32, the background's with those that are added to it; they
        are not a number where a score is not or is +infinity.
    """
    if present is None:
        present = np.arange(scores.shape[0])
    sure = np.zeros(scores.shape[0]) if sure is None else sure
    if isinstance(scores, Upscored) and scores.gpu is not None:
        from . import gpu_decision  # needs torch

        how = temperature, present, background, sure
        return gpu_decision.decide(scores, size, *how, scores.gpu)
    width, height = size
    is_present = np.zeros(scores.shape[0], bool)
    is_present[present] = True
    scores = _reduce(scores, size)
    labels = np.empty((height, width), np.uint8)
    confidence = np.empty((height, width), np.float32)
    tile_height = min(height, max(SIDE, SIDE**2 // width))
    tile_width = SIDE**2 // tile_height
    across = [
        _Line(left, tile_width, width, scores.shape[2]) for left in range(0, width, tile_width)
    ]

    def fill(top: int) -> None:
        y = _Line(top, tile_height, height, scores.shape[1])
        # Tiles of a large photo share scores, and so the work of making them.
        band = scores[:, y.cells, :] if scores.shape[2] < width else None
        for x in across:
            near = scores[:, y.cells, x.cells] if band is None else band[:, :, x.cells]
            near = near / np.float32(temperature)
            some = _contenders(near, is_present)
            tile = y.enlarge(x.enlarge(near[some], 2), 1)
            doubt = None
            if background is not None and not is_present[some].all():
                rest = is_present[some], background, sure[some]
                tile, some, doubt = _add_absent(tile, some, *rest)
            label, probability = _choose(tile, some, is_present[some])
            if doubt is not None:
                probability *= 1 - doubt * (label == background)
            labels[y.pixels, x.pixels], confidence[y.pixels, x.pixels] = label, probability

    with ThreadPoolExecutor(count_cores()) as pool:  # numpy works without Python's lock
        list(pool.map(fill, range(0, height, tile_height)))  # raises what a thread raised
    return labels, confidence


def find_present(
    sure: np.ndarray, absent_below: float, background: int | None = None
) -> np.ndarray:
    """Find the classes that a photo may be said to show.

    A network that takes a shadow for a sheep is seldom sure of it anywhere, and of a sheep it
    mostly is somewhere.

    Args:
        sure: (C,) what ``surest`` gives.
        absent_below: A class of which it is nowhere as sure as this is taken to be absent.
        background: The class that never is; if there is none, the one that it is surest of never
            is.

    Returns:
        Ids of the classes that are left, rising.
    """
    # What is not a number is kept, so that damaged weights are noticed.
    is_present = ~(sure < absent_below)
    is_present[sure.argmax() if background is None else background] = True
    return np.flatnonzero(is_present)


def surest(scores: np.ndarray | Upscored, temperature: float) -> np.ndarray:
    """How sure a network is of each class where it is surest of it.

    Args:
        scores: (C, h, w) logits, maybe with ``presence``, see ``Upscored``, by which the
            probabilities are then multiplied; or with what is asked for as ``surest``.
        temperature: Logits are divided by it.

    Returns:
        (C,) float32, probabilities.
    """
    known: np.ndarray | None = getattr(scores, "surest", None)
    if known is not None:
        return known
    # The cells of the finest map suffice: to bring all scores to size first would take far longer.
    coarse = scores.coarse if isinstance(scores, Upscored) else scores
    highest: np.ndarray = softmax(coarse / np.float32(temperature), 0).max((1, 2))
    presence = getattr(scores, "presence", None)
    return highest if presence is None else highest * presence


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    """Probabilities from scores of any shape whose classes lie along an axis."""
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


class _Line:
    """How some pixels of a row or column lie between its scores.

    Args:
        first: The first of the pixels.
        most: How many; those past the end are left out.
        size: Pixels in the whole line.
        count: Scores in the whole line, at most ``size``.

    Attributes:
        pixels: The pixels.
        cells: The scores that they are made of.
    """

    def __init__(self, first: int, most: int, size: int, count: int) -> None:
        self.pixels = slice(first, min(first + most, size))
        centers = (np.arange(first, self.pixels.stop) + 0.5) * (count / size) - 0.5
        centers = centers.clip(0, count - 1)
        before = np.minimum(centers.astype(int), max(count - 2, 0))
        start, stop = int(before[0]), min(int(before[-1]) + 2, count)
        self.cells = slice(start, stop)
        self._is_same = count == size
        if self._is_same:
            self.cells = self.pixels
        self._before = before - start
        self._after = np.minimum(self._before + 1, stop - start - 1)
        self._share = (centers - before).astype(np.float32)

    def enlarge(self, scores: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate (k, rows, columns) scores along axis 1 or 2."""
        if self._is_same:
            return scores
        shares = self._share[:, None] if axis == 1 else self._share
        before = scores.take(self._before, axis)
        result = scores.take(self._after, axis)
        result -= before
        result *= shares
        result += before
        return result


def _reduce(scores: np.ndarray | Upscored, size: tuple[int, int]) -> np.ndarray | Upscored:
    """Bring scores down to a photo's (width, height) where they are larger."""
    smaller = min(scores.shape[2], size[0]), min(scores.shape[1], size[1])
    if smaller == (scores.shape[2], scores.shape[1]):
        return scores
    maps = (Image.fromarray(one) for one in np.asarray(scores))
    reduced = [one.resize(smaller, Image.Resampling.BILINEAR) for one in maps]
    return np.stack([np.asarray(one) for one in reduced])


def _contenders(scores: np.ndarray, is_present: np.ndarray) -> np.ndarray:
    """The classes that count somewhere between (C, h, w) scores, in label order.

    Between four neighbours a score is at most the largest of the four, and the best one present
    at least the largest that any class present has in all four.
    """
    if len(scores) <= FEW:
        return np.arange(len(scores))
    best = _between(scores[is_present], np.minimum).max(0)
    lead = _between(scores, np.maximum) - best
    return np.flatnonzero(~(lead.max((1, 2)) <= -NEGLIGIBLE))  # with what is not a number


def _between(scores: np.ndarray, pick: Callable[..., np.ndarray]) -> np.ndarray:
    if scores.shape[1] > 1:
        scores = pick(scores[:, :-1], scores[:, 1:])
    if scores.shape[2] > 1:
        scores = pick(scores[:, :, :-1], scores[:, :, 1:])
    return scores


def _add_absent(
    tile: np.ndarray, ids: np.ndarray, is_present: np.ndarray, background: int, sure: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (k, rows, columns) scores those of present classes, and of the rest as background.

    Returns:
        The scores, their ids, and the share (rows, columns) of the background's probability that
        is that of something else after all.
    """
    is_rest = ~is_present | (ids == background)
    rest = tile[is_rest]
    best = rest.max(0)
    powers = np.exp(rest - best)
    total = powers.sum(0)
    after_all = np.where(ids == background, 0, sure)[is_rest].astype(np.float32)
    doubt = np.tensordot(after_all, powers, 1) / total
    tile = np.concatenate([tile[~is_rest], (best + np.log(total))[None]])
    ids = np.append(ids[~is_rest], background)
    order = ids.argsort()
    return tile[order], ids[order], doubt


def _choose(
    tile: np.ndarray, ids: np.ndarray, is_present: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best present of (k, rows, columns) scores, by id, and its probability; spoils them."""
    first, *others = np.flatnonzero(is_present)
    best = tile[first].copy()
    labels = np.full(best.shape, ids[first], np.uint8)
    # Ids rise, so the larger of two is the later; argmax over the first axis is much slower.
    for label, one in ((np.uint8(ids[k]), tile[k]) for k in others):
        np.maximum(labels, (one > best).view(np.uint8) * label, out=labels)
        np.maximum(best, one, out=best)
    tile -= best
    np.exp(tile, out=tile)
    return labels, 1 / tile.sum(0)
