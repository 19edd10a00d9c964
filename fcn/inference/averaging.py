"""Test-time augmentation: one answer from several scales of a photo and its mirror image.

The convention: calibrated probabilities are averaged, not logits, and what comes out is their
logarithm, so that it goes where any engine's scores go. Whether a class is there is averaged too,
as each run alone would tell it: peaks of averaged maps are lower, and a threshold that was chosen
for those of one run would leave out classes that every run finds.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from ..segmenter import Segmenter
from .decision import softmax, surest


class Averaged(np.ndarray):
    """Scores (num_classes, h, w) with ``surest`` (num_classes,), see ``decision.surest``."""

    surest: np.ndarray


class AveragedSegmenter(Segmenter):
    """A segmenter that answers with the mean of what another one finds.

    Args:
        segmenter: The other one.
        scales: Of the size that it sees photos at, each more than 0.
        flip: Whether to see the mirror image at each of them as well.
    """

    def __init__(self, segmenter: Segmenter, scales: Sequence[float], flip: bool) -> None:
        vars(self).update(vars(segmenter))  # with what was set since it was loaded
        self.scales = tuple(scales)
        self.flip = flip
        self._divisor, self.temperature = segmenter.temperature, 1.0

    def _scores(self, photo: Image.Image, strides: Sequence[int]) -> dict[int, Averaged]:
        """Logarithms of averaged probabilities, float32, by stride."""
        size = self.size_of(photo)
        shape = len(self.classes), size[1], size[0]
        means = {stride: np.zeros(shape, np.float32) for stride in strides}
        surests = {stride: np.zeros(shape[0], np.float32) for stride in strides}
        share = 1 / (len(self.scales) * (2 if self.flip else 1))
        for scale in self.scales:
            scaled = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
            seen = photo.resize(scaled, Image.Resampling.BILINEAR)
            for step, one in ((1, seen), (-1, ImageOps.mirror(seen)))[: 2 if self.flip else 1]:
                for stride, scores in self._run(one, strides).items():
                    surests[stride] += share * surest(scores, self._divisor)
                    back = np.ascontiguousarray(np.asarray(scores)[..., ::step])
                    maps = (Image.fromarray(one) for one in back)
                    whole = (one.resize(size, Image.Resampling.BILINEAR) for one in maps)
                    logits = np.stack([np.asarray(one) for one in whole])
                    means[stride] += share * softmax(logits / self._divisor, 0)
        averaged = {}
        for stride, mean in means.items():
            averaged[stride] = np.log(mean + 1e-12).view(Averaged)
            averaged[stride].surest = surests[stride]
        return averaged
