"""Averaging over scales and mirror images: neutral where it must be, and a mean elsewhere."""

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from PIL import Image, ImageOps

from fcn.inference.averaging import AveragedSegmenter
from fcn.inference.decision import find_present, softmax, surest
from fcn.inference.engines import TorchEngine
from fcn.segmenter import Segmenter

# Of the size that the network sees.
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
BOTH = (PHOTO, ImageOps.mirror(PHOTO))


@pytest.fixture
def segmenter() -> Segmenter:
    """A network that tells presence, with a temperature of its own."""
    model = build_tiny(CLASSES, presence=True)
    torch.nn.init.normal_(model.presence.weight, std=1e-4)
    segmenter = Segmenter(TorchEngine(model), "tiny")
    segmenter.temperature = 3.0
    return segmenter


def probabilities(segmenter: Segmenter, photo: Image.Image = PHOTO) -> np.ndarray:
    return softmax(np.asarray(segmenter.scores(photo)) / segmenter.temperature, 0)


def test_one_scale_without_mirror_changes_nothing(segmenter: Segmenter) -> None:
    averaged = AveragedSegmenter(segmenter, [1.0], flip=False)
    assert probabilities(averaged) == pytest.approx(probabilities(segmenter), abs=1e-5)
    assert np.array_equal(averaged(PHOTO).labels, segmenter(PHOTO).labels)


def test_the_mirror_image_gives_the_mirrored_answer(segmenter: Segmenter) -> None:
    averaged = AveragedSegmenter(segmenter, [0.75, 1.0, 1.5], flip=True)
    one, other = (probabilities(averaged, photo) for photo in BOTH)
    assert one == pytest.approx(other[..., ::-1], abs=1e-4)


def test_calibrated_probabilities_are_averaged(segmenter: Segmenter) -> None:
    one, mirrored = (probabilities(segmenter, photo) for photo in BOTH)
    expected = (one + mirrored[..., ::-1]) / 2
    averaged = AveragedSegmenter(segmenter, [1.0], flip=True)
    assert probabilities(averaged) == pytest.approx(expected, abs=1e-5)
    assert averaged(PHOTO).confidence == pytest.approx(expected.max(0), abs=1e-4)


def test_a_class_that_each_run_finds_is_found(segmenter: Segmenter) -> None:
    sure = [surest(segmenter.scores(photo), segmenter.temperature) for photo in BOTH]
    assert np.abs(sure[0] - sure[1]).max() > 1e-3
    averaged = AveragedSegmenter(segmenter, [1.0], flip=True)
    scores = averaged.scores(PHOTO)
    assert surest(scores, averaged.temperature) == pytest.approx((sure[0] + sure[1]) / 2, abs=1e-5)
    # What the runs are sure of lies in different places, so that their mean is nowhere as sure.
    peaks = probabilities(averaged).max((1, 2))
    mean_peaks = np.mean([probabilities(segmenter, photo).max((1, 2)) for photo in BOTH], 0)
    assert (peaks < mean_peaks - 1e-3).any()
    for threshold in np.minimum(*sure):
        in_each = [set(find_present(one, float(threshold))) for one in sure]
        in_all = set(find_present(surest(scores, averaged.temperature), float(threshold)))
        assert in_each[0] & in_each[1] <= in_all


def test_scales_are_those_of_the_photo(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo that the network sees reduced is not reduced first and then enlarged."""
    seen: list[np.ndarray] = []
    run = TorchEngine.scores

    def record(engine: TorchEngine, image: np.ndarray, strides: list[int]) -> object:
        seen.append(image)
        return run(engine, image, strides)

    monkeypatch.setattr(TorchEngine, "scores", record)
    photo = Image.effect_noise((192, 128), 100).convert("RGB")
    AveragedSegmenter(segmenter, [0.5, 2.0], flip=False)(photo)
    small = photo.resize((48, 32), Image.Resampling.BILINEAR)
    assert [one.tolist() for one in seen] == [np.array(small).tolist(), np.array(photo).tolist()]
