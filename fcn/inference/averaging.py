"""Test-time augmentation: one answer from several scales of a photo and its mirror image.

The convention: calibrated probabilities are averaged, not logits, and what comes out is their
logarithm, so that it goes where any engine's scores go.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..segmenter import Segmenter
from .decision import softmax
from .engines import Engine
from .fusion import Upscored


def average(segmenter: Segmenter, scales: Sequence[float], flip: bool) -> Segmenter:
    """A segmenter that answers with the mean over scales and, if asked, mirror images."""
    engine = AveragedEngine(segmenter._engine, scales, flip, segmenter.temperature)
    averaged = Segmenter(engine, segmenter.source, segmenter.metrics)
    averaged.temperature = 1.0
    return averaged


class Averaged(np.ndarray):
    """Scores (num_classes, h, w), and the presence of their classes as ``Upscored`` has it."""

    presence: np.ndarray | None = None


class AveragedEngine(Engine):
    """An engine that runs another one at several scales.

    Args:
        engine: What runs the network.
        scales: Of the picture, each more than 0.
        flip: Whether to run the mirror image of each as well.
        temperature: The engine's scores divided by this give calibrated probabilities.
    """

    def __init__(
        self, engine: Engine, scales: Sequence[float], flip: bool, temperature: float = 1.0
    ) -> None:
        self.engine = engine
        self.temperature = temperature
        self.scales = tuple(scales)
        self.flip = flip
        self.name = engine.name
        self.config: dict[str, Any] = engine.config

    @property
    def kernels(self) -> Mapping[str, np.ndarray]:
        """The network's own, see ``Engine``."""
        return self.engine.kernels

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, Averaged]:
        """Logarithms of averaged probabilities, (num_classes, h, w) float32, see ``Engine``."""
        height, width = image.shape[:2]
        shape = len(self.config["classes"]), height, width
        totals = {stride: np.zeros(shape, np.float32) for stride in strides}
        presence: list[np.ndarray] = []
        for scale in self.scales:
            size = max(1, round(scale * width)), max(1, round(scale * height))
            small = np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
            for step in (1, -1) if self.flip else (1,):
                turned = np.ascontiguousarray(small[:, ::step])
                for stride, scores in self.engine.scores(turned, strides).items():
                    if isinstance(scores, Upscored) and scores.presence is not None:
                        presence.append(scores.presence)
                    back = np.ascontiguousarray(np.asarray(scores)[..., ::step])
                    maps = (Image.fromarray(one) for one in back)
                    whole = (one.resize((width, height), Image.Resampling.BILINEAR) for one in maps)
                    logits = np.stack([np.asarray(one) for one in whole])
                    totals[stride] += softmax(logits / self.temperature, 0)
        count = len(self.scales) * (2 if self.flip else 1)
        averaged = {}
        for stride, total in totals.items():
            averaged[stride] = np.log(total / count + 1e-12).view(Averaged)
            averaged[stride].presence = np.mean(presence, 0) if presence else None
        return averaged

    def maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Those of the picture as it is, see ``Engine``."""
        return self.engine.maps(image)
