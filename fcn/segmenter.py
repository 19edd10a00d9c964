"""From a checkpoint and a photo to a ``Segmentation`` at the photo's size.

Everything that serves or scores a network goes through ``Segmenter``: the page, the API, the
command line and the trainer's evaluation, so that a published number is that of what is served.

The convention: an engine turns one small picture into scores at that picture's size; all before
and after (scaling the photo, bringing scores back to its size, probabilities) is numpy and Pillow
and the same for every engine, but that a GPU decides the same by torch.
"""

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from . import checkpoint
from .errors import InputError
from .inference.decision import decide, find_present, surest
from .inference.engines import Engine, OnnxEngine, TorchEngine, load_engine
from .inference.fusion import STRIDES, Upscored
from .palette import BACKGROUND, Color, distinct
from .resizing import network_size
from .segmentation import Segmentation

if TYPE_CHECKING:
    from .model import FCN

LOG = logging.getLogger(__name__)

TURN = threading.Lock()  # a network takes all cores and much memory, so one runs at a time
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@.+)?")


class Segmenter:
    """A network ready for photos.

    Attributes:
        classes: Names in label order.
        palette: One colour per class.
        source: Where the weights came from, as it was asked for.
        revision: The Hub's commit that they are from; empty if they are not from there.
        folder: The checkpoint's folder; None for a live network.
        metrics: What ``metrics.json`` holds, for onnx of int8 if it does; empty if there is none.
        engine: Name of the engine that runs.
        stride: The stride that is used when none is asked for.
        inference_size: Long side in pixels that photos are scaled to, enlarged twofold at most; 0
            leaves those of up to 2,048.
        temperature: Logits divided by this give calibrated probabilities.
        absent_below: A class that is nowhere in a photo as probable as this, by its scores and its
            presence, is not found in it.
        doubt_below: Mean confidence below which a result deserves doubt.

    Example::

        segmenter = Segmenter.load("checkpoints/street")
        segmenter(open_photo("crossing.jpg")).found()[0].name  # 'Road'
    """

    def __init__(self, engine: Engine, source: str, metrics: dict[str, Any] | None = None) -> None:
        config = engine.config
        self.source = source
        self.revision = ""
        self.folder: Path | None = None
        self.metrics = metrics or {}
        self.engine = engine.name
        self.classes: tuple[str, ...] = tuple(config["classes"])
        colors = config["palette"] or distinct(len(self.classes))
        self.palette: tuple[Color, ...] = tuple((red, green, blue) for red, green, blue in colors)
        self.stride: int = config["stride"]
        self.inference_size: int = config["inference_size"]
        self.temperature: float = config["temperature"]
        self.absent_below: float = config.get("absent_below", 0.0)  # older checkpoints have none
        self.doubt_below: float = config["doubt_below"]
        self._engine = engine

    @property
    def name(self) -> str:
        """What it is called in short: the last part of its source, without a revision."""
        return (Path(self.source).name or Path(self.source).resolve().name).partition("@")[0]

    @classmethod
    def load(cls, source: str | Path, engine: str = "auto", device: str | None = None) -> Self:
        """Load a checkpoint.

        Args:
            source: A checkpoint folder, a run's folder, or a pointer in one; or, where there is
                no such path, a Hub id such as ``user/name`` or ``user/name@revision``.
            engine: A name in ``ENGINES``, or ``auto``: onnx on a CPU, torch on a GPU.
            device: As torch names it, such as ``cpu`` or ``cuda:1``; found if None.

        Raises:
            InputError: If there is no such checkpoint, engine or device.
        """
        folder, revision = find_checkpoint(source)
        runs = load_engine(folder, engine, device)
        metrics = checkpoint.read_json(folder, "metrics.json")
        if runs.name == OnnxEngine.name and isinstance(metrics.get("int8"), dict):
            metrics = metrics["int8"]
        segmenter = cls(runs, str(source), metrics)
        segmenter.folder, segmenter.revision = folder, revision
        return segmenter

    @classmethod
    def of(cls, model: "FCN", source: str) -> Self:
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
        stride = self.stride if stride is None else stride
        return self.at_strides(photo, (stride,))[stride]

    def at_strides(self, photo: Image.Image, strides: Sequence[int]) -> dict[int, Segmentation]:
        """Segment a photo at several strides, in one run of the network.

        Args:
            photo: RGB, as ``open_photo`` gives it.
            strides: Some of 8, 16 and 32.

        Returns:
            As calling it does, by stride; ``seconds`` are those of all.

        Raises:
            InputError: As calling it does.
        """
        start = time.perf_counter()
        decided = {
            stride: self.decide(scores, photo.size)
            for stride, scores in self._scores(photo, strides).items()
        }
        for _, confidence in decided.values():
            self._check_finite(confidence)
        seconds = time.perf_counter() - start
        return {
            stride: Segmentation(
                labels, confidence, self.classes, self.palette, self.source, seconds
            )
            for stride, (labels, confidence) in decided.items()
        }

    def scores(self, photo: Image.Image) -> np.ndarray | Upscored:
        """Score a photo at the size and the stride that the network sees it at.

        Args:
            photo: RGB, as ``open_photo`` gives it.

        Returns:
            Logits (num_classes, h, w) float32, not yet divided by the temperature.

        Raises:
            InputError: If the weights give no finite scores.
        """
        scores = self._scores(photo, (self.stride,))[self.stride]
        self._check_finite(scores)
        return scores

    @property
    def trained_strides(self) -> tuple[int, ...]:
        """The strides that it was trained at, coarse to fine: the skips of others add nothing."""
        return tuple(one for one in STRIDES if one >= self.stride)

    @property
    def background(self) -> int | None:
        """The label of the background; None if there is none."""
        return self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None

    def decide(
        self, scores: np.ndarray | Upscored, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose the best class of every pixel of a photo, see ``decision.decide``.

        Args:
            scores: (num_classes, h, w) logits.
            size: The photo's (width, height).
        """
        if self.absent_below <= 0:
            return decide(scores, size, self.temperature)
        sure = surest(scores, self.temperature)
        present = find_present(sure, self.absent_below, self.background)
        return decide(scores, size, self.temperature, present, self.background, sure)

    def size_of(self, photo: Image.Image) -> tuple[int, int]:
        """The (width, height) that the network sees a photo at.

        Raises:
            InputError: If it is not RGB, or no picture at all.
        """
        if not isinstance(photo, Image.Image) or photo.mode != "RGB":
            raise InputError("Give an RGB picture, as fcn.photo.open_photo makes it of a file.")
        return network_size(photo.size, self.inference_size)

    def resize(self, photo: Image.Image) -> Image.Image:
        """A photo at the size that the network sees it at; a small one grows."""
        size = self.size_of(photo)
        return photo.resize(size, Image.Resampling.BILINEAR)

    def maps(self, photo: Image.Image) -> dict[str, np.ndarray]:
        """Score a photo at strides 32, 16 and 8, before anything is fused: see ``Engine.maps``."""
        image = np.array(self.resize(photo))
        with TURN:
            return self._engine.maps(image)

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds, complete."""
        return self._engine.config

    @property
    def kernels(self) -> Mapping[str, np.ndarray]:
        """The deconvolutions that ``fusion`` brings the maps up by: see ``Engine``."""
        return self._engine.kernels

    def _scores(
        self, photo: Image.Image, strides: Sequence[int]
    ) -> Mapping[int, np.ndarray | Upscored]:
        return self._run(self.resize(photo), strides)

    def _run(
        self, seen: Image.Image, strides: Sequence[int]
    ) -> Mapping[int, np.ndarray | Upscored]:
        for stride in strides:
            if not isinstance(stride, int) or stride not in STRIDES:
                raise InputError(f"Stride is {stride!r}, but must be 8, 16 or 32.")
        with TURN:
            return self._engine.scores(np.array(seen), strides)

    def _check_finite(self, values: np.ndarray | Upscored) -> None:
        is_finite = (
            values.is_finite() if isinstance(values, Upscored) else np.isfinite(values).all()
        )
        if not is_finite:
            raise InputError(f"The weights from {self.source} are damaged: scores are not finite.")


def refuse_missing(source: str) -> None:
    """Refuse what names nothing in a folder that is there, rather than ask the Hub for its like.

    Raises:
        InputError: If it does, and no revision says that the Hub is meant.
    """
    if Path(source).parent.is_dir() and "@" not in source:
        raise InputError(
            f"There is no folder {source}. If the Hub's model of that name is meant: {source}@main"
        )


def find_checkpoint(source: str | Path) -> tuple[Path, str]:
    """The checkpoint folder that a path means, or a Hub id where there is no such path.

    Returns:
        The folder, and the Hub's commit, empty for a folder of one's own.

    Raises:
        InputError: If there is none, or it cannot be had.
    """
    if Path(source).exists() or not HUB_ID.fullmatch(str(source)):
        return checkpoint.resolve(source), ""
    from .hub.pull import pull

    refuse_missing(str(source))
    pulled = pull(str(source))
    if pulled.note:
        LOG.warning("%s", pulled.note)
    return pulled.folder, pulled.revision
