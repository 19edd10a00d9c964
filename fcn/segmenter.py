"""From a checkpoint and a photo to a ``Segmentation`` at the photo's size.

Everything that serves or scores a network goes through ``Segmenter``: the page, the API, the
command line and the trainer's evaluation, so that a published number is that of what is served.

The convention: an engine turns one small picture into scores at that picture's size; all before
and after (scaling the photo, bringing scores back to its size, probabilities) is numpy and Pillow
and the same for every engine. Scores are brought to size, never class ids.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from . import checkpoint
from .errors import InputError
from .palette import Color, distinct
from .segmentation import BACKGROUND, Found, Segmentation, strips

if TYPE_CHECKING:
    from .model import FCN

__all__ = ["BACKGROUND", "ENGINES", "STRIDES", "Found", "Segmentation", "Segmenter"]

STRIDES = (8, 16, 32)
LARGEST_ENLARGEMENT = 2.0
LARGEST_SIDE = 2048  # of a photo that is not scaled; bounds what the network's layers can take


class Engine(Protocol):
    """What runs a network.

    Attributes:
        name: Its key in ``ENGINES``.
        config: What ``config.json`` holds, complete.
    """

    name: str
    config: dict[str, Any]

    def scores(self, image: np.ndarray, stride: int | None) -> np.ndarray:
        """Score a picture.

        Args:
            image: (h, w, 3) uint8 RGB, contiguous and writable.
            stride: 8, 16, 32, or None for the checkpoint's own.

        Returns:
            (num_classes, h, w) float32 logits.
        """


class TorchEngine:
    """Runs a live network on the device that it is on, in evaluation mode."""

    name = "torch"

    def __init__(self, model: "FCN") -> None:
        self.model = model
        self.config = model.config

    @classmethod
    def load(cls, folder: Path, device: str | None) -> "TorchEngine":
        """Load a checkpoint folder onto a device, or onto the best that is there."""
        import torch

        from . import saving

        model, device = saving.load(folder), device or _best_device()
        try:
            # Convolutions on a CPU are faster with the channels innermost.
            return cls(model.to(memory_format=torch.channels_last).to(torch.device(device)))
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"Device {device!r} cannot be used here ({reason}).") from error

    def scores(self, image: np.ndarray, stride: int | None) -> np.ndarray:
        """Score a picture, see ``Engine``."""
        import torch

        self.model.eval()
        with torch.inference_mode():
            pixels = torch.from_numpy(image).to(self.model.mean.device)
            images = pixels.permute(2, 0, 1)[None].float() / 255  # (1, 3, h, w), channels last
            return self.model(images, stride)[0].float().cpu().numpy()


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


ENGINES: dict[str, Callable[[Path, str | None], Engine]] = {"torch": TorchEngine.load}
"""Ways to run a checkpoint folder on a device; ``auto`` takes the first."""


class Segmenter:
    """A network ready for photos.

    Attributes:
        classes: Names in label order.
        palette: One colour per class.
        source: Where the weights came from, as it was asked for.
        metrics: What ``metrics.json`` holds; empty if there is none.
        engine: Name of the engine that runs.
        stride: The stride that is used when none is asked for.
        inference_size: Long side in pixels that photos are scaled to; 0 leaves them.
        doubt_below: Mean confidence below which a result deserves doubt.

    Example::

        segmenter = Segmenter.load("checkpoints/street")
        segmenter(open_photo("crossing.jpg")).found()[0].name  # 'Road'
    """

    def __init__(self, engine: Engine, source: str, metrics: dict[str, Any] | None = None) -> None:
        config = engine.config
        self.source = source
        self.metrics = metrics or {}
        self.engine = engine.name
        self.classes: tuple[str, ...] = tuple(config["classes"])
        colors = config["palette"] or distinct(len(self.classes))
        self.palette: tuple[Color, ...] = tuple((red, green, blue) for red, green, blue in colors)
        self.stride: int = config["stride"]
        self.inference_size: int = config["inference_size"]
        self.doubt_below: float = config["doubt_below"]
        self._temperature: float = config["temperature"]
        self._scores = engine.scores

    @classmethod
    def load(
        cls, source: str | Path, engine: str = "auto", device: str | None = None
    ) -> "Segmenter":
        """Load a checkpoint.

        Args:
            source: A checkpoint folder, a run's folder, or a pointer in one.
            engine: A name in ``ENGINES``, or ``auto``.
            device: As torch names it, such as ``cpu`` or ``cuda:1``; found if None.

        Raises:
            InputError: If there is no such checkpoint, engine or device.
        """
        if engine != "auto" and engine not in ENGINES:
            known = ", ".join(("auto", *ENGINES))
            raise InputError(f"There is no engine {engine!r}; choose from {known}.")
        folder = checkpoint.resolve(source)
        start = next(iter(ENGINES.values())) if engine == "auto" else ENGINES[engine]
        metrics = checkpoint.read_json(folder, "metrics.json")
        return cls(start(folder, device), str(source), metrics)

    @classmethod
    def of(cls, model: "FCN", source: str) -> "Segmenter":
        """Wrap a live network, on the device that it is on.

        Every call leaves it in evaluation mode: a trainer calls ``model.train()`` to go on.
        """
        return cls(TorchEngine(model), source)

    def __call__(self, photo: Image.Image, stride: int | None = None) -> Segmentation:
        """Segment a photo.

        Args:
            photo: RGB, as ``open_photo`` gives it.
            stride: 8, 16 or 32: the finest map that is fused in; the checkpoint's own if None.

        Returns:
            Labels and confidences at the photo's size.

        Raises:
            InputError: If the stride is none of the three, or the weights give no finite scores.
        """
        if stride is not None and stride not in STRIDES:
            raise InputError(f"Stride is {stride!r}, but must be 8, 16 or 32.")
        start = time.perf_counter()
        small = photo.resize(self._network_size(photo.size), Image.Resampling.BILINEAR)
        scores = self._scores(np.array(small), stride)
        if not np.isfinite(scores).all():
            raise InputError(f"The weights from {self.source} are damaged: scores are not finite.")
        labels, confidence = _decide(scores / self._temperature, photo.size)
        seconds = time.perf_counter() - start
        return Segmentation(
            labels, confidence, self.classes, self.palette, self.source, seconds=seconds
        )

    def _network_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) at which the network sees a photo of this size."""
        wanted = self.inference_size or min(max(size), LARGEST_SIDE)
        factor = min(wanted / max(size), LARGEST_ENLARGEMENT)
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _decide(scores: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Choose the best class of every pixel of a photo.

    Scores at a photo's size would be (150, 3000, 4000) floats, 7 GB, so they are made and used
    strip by strip.

    Args:
        scores: (C, h, w) float32 logits.
        size: The photo's (width, height).

    Returns:
        Labels (height, width) uint8 and their softmax probabilities (height, width) float32.
    """
    width, height = size
    maps = [Image.fromarray(one) for one in scores]
    labels = np.empty((height, width), np.uint8)
    confidence = np.empty((height, width), np.float32)
    for rows in strips(height, len(maps) * width):
        strip = np.stack([_enlarge_rows(one, size, rows) for one in maps])  # (C, rows, width)
        best = strip.max(0)
        labels[rows] = strip.argmax(0)
        strip -= best
        np.exp(strip, out=strip)
        np.divide(1, strip.sum(0), out=confidence[rows])
    return labels, confidence


def _enlarge_rows(scores: Image.Image, size: tuple[int, int], rows: slice) -> np.ndarray:
    """The rows of a bilinearly resized map: the same numbers as if all of it were resized."""
    width, height = size
    step = scores.height / height
    box = (0, rows.start * step, scores.width, rows.stop * step)
    shape = (width, rows.stop - rows.start)
    return np.asarray(scores.resize(shape, Image.Resampling.BILINEAR, box=box))
