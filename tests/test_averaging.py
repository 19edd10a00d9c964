"""Averaging over scales and mirror images: neutral where it must be, and a mean elsewhere."""

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from PIL import Image

from fcn.inference.averaging import AveragedEngine, average
from fcn.inference.decision import softmax
from fcn.inference.engines import TorchEngine
from fcn.segmenter import Segmenter

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(build_tiny(CLASSES))


def scores_of(engine: TorchEngine, image: np.ndarray = IMAGE) -> np.ndarray:
    return np.asarray(engine.scores(image, [8])[8])


def test_one_scale_without_mirror_changes_nothing(engine: TorchEngine) -> None:
    averaged = AveragedEngine(engine, [1.0], flip=False)
    probabilities = np.exp(averaged.scores(IMAGE, [8])[8])
    assert probabilities == pytest.approx(softmax(scores_of(engine), 0), abs=1e-5)


def test_the_mirror_image_gives_the_mirrored_answer(engine: TorchEngine) -> None:
    averaged = AveragedEngine(engine, [0.75, 1.0, 1.5], flip=True)
    one = averaged.scores(IMAGE, [8])[8]
    other = averaged.scores(np.ascontiguousarray(IMAGE[:, ::-1]), [8])[8][..., ::-1]
    assert one == pytest.approx(other, abs=1e-3)


def test_presence_is_averaged(engine: TorchEngine) -> None:
    assert AveragedEngine(engine, [1.0], flip=True).scores(IMAGE, [8])[8].presence is None
    other = TorchEngine(build_tiny(CLASSES, presence=True))
    torch.nn.init.normal_(other.model.presence.weight, std=1e-4)
    one, mirrored = (
        other.scores(np.ascontiguousarray(image), [8])[8].presence
        for image in (IMAGE, IMAGE[:, ::-1])
    )
    assert np.abs(one - mirrored).max() > 1e-3
    averaged = AveragedEngine(other, [1.0], flip=True).scores(IMAGE, [8, 16])[16].presence
    assert averaged == pytest.approx((one + mirrored) / 2, abs=1e-5)


def test_probabilities_are_averaged(engine: TorchEngine) -> None:
    mirrored = scores_of(engine, np.ascontiguousarray(IMAGE[:, ::-1]))[..., ::-1]
    expected = (softmax(scores_of(engine), 0) + softmax(mirrored, 0)) / 2
    probabilities = np.exp(AveragedEngine(engine, [1.0], flip=True).scores(IMAGE, [8])[8])
    assert probabilities == pytest.approx(expected, abs=1e-5)
    assert probabilities.sum(0) == pytest.approx(np.ones((64, 96)), abs=1e-4)


def test_what_is_averaged_is_calibrated(engine: TorchEngine) -> None:
    segmenter = Segmenter(engine, "tiny")
    segmenter.temperature = 3.0
    averaged = average(segmenter, [1.0], flip=True)
    mirrored = scores_of(engine, np.ascontiguousarray(IMAGE[:, ::-1]))[..., ::-1]
    expected = (softmax(scores_of(engine) / 3, 0) + softmax(mirrored / 3, 0)) / 2
    found = averaged(Image.fromarray(IMAGE))  # of the size that the network sees
    assert found.confidence == pytest.approx(expected.max(0), abs=1e-4)
