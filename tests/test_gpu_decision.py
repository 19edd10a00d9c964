"""What a GPU decides is what numpy decides; here it is asked of the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from test_decision import coarse

from fcn.data.shapes import draw_scene
from fcn.errors import InputError
from fcn.head import bilinear_kernel
from fcn.inference import decision, gpu_decision
from fcn.inference.engines import TorchEngine
from fcn.inference.fusion import Upscored
from fcn.segmenter import Segmenter


def upscored(count: int, gpu: str | None = None) -> Upscored:
    """Scores as a network of stride 8 gives them for a picture of 125x93."""
    kernel = bilinear_kernel(8).expand(count, 1, -1, -1).numpy() * np.float32(1.1)
    return Upscored(coarse(count, 12, 16), kernel, (93, 125), gpu)


@pytest.mark.parametrize("count", [4, 150])
@pytest.mark.parametrize("size", [(125, 93), (300, 201), (60, 41), (200, 40), (1, 1)])
@pytest.mark.parametrize("floats", [1, 2**24])
@pytest.mark.parametrize("background", [None, 3])
def test_it_decides_as_numpy_does(
    count: int,
    size: tuple[int, int],
    floats: int,
    background: int | None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gpu_decision, "FLOATS", floats)  # one class at a time, or all
    present = np.arange(count)[1::2]
    sure = np.random.default_rng(0).random(count)
    given = size, 1.3, present, background, sure
    expected = decision.decide(upscored(count), *given)
    labels, confidence = gpu_decision.decide(upscored(count), *given, "cpu")
    assert labels.dtype == np.uint8 and confidence.dtype == np.float32
    assert (labels == expected[0]).mean() > 0.999
    np.testing.assert_allclose(confidence, expected[1], atol=3e-5)


@pytest.mark.parametrize("floats", [1, 2**24])
def test_the_first_of_equals_is_chosen(floats: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_decision, "FLOATS", floats)
    scores = upscored(4)
    scores.coarse[:] = 0
    labels, confidence = gpu_decision.decide(
        scores, (9, 9), 1, np.array([1, 2, 3]), None, np.ones(4), "cpu"
    )
    assert (labels == 1).all()
    np.testing.assert_allclose(confidence, 0.25, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_shows(bad: float):
    scores = upscored(4)
    scores.coarse[2, 3, 4] = bad
    _, confidence = gpu_decision.decide(scores, (125, 93), 1, np.arange(4), None, np.ones(4), "cpu")
    assert np.isnan(confidence).any()


def test_scores_are_decided_where_they_belong(monkeypatch: pytest.MonkeyPatch):
    expected = gpu_decision.decide(
        upscored(4), (70, 50), 1.3, np.arange(4), None, np.ones(4), "cpu"
    )
    monkeypatch.setattr(decision, "_choose", None)  # numpy's way is not gone
    found = decision.decide(upscored(4, "cpu"), (70, 50), 1.3)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_network_on_a_gpu_has_its_photos_decided_there(monkeypatch: pytest.MonkeyPatch):
    segmenter, (photo, _) = Segmenter.of(build_tiny(CLASSES), ""), draw_scene(0)
    expected = segmenter(photo)
    monkeypatch.setattr(TorchEngine, "gpu", "cpu")
    monkeypatch.setattr(decision, "_choose", None)
    found = segmenter(photo)
    assert (found.labels == expected.labels).mean() > 0.999
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=3e-5)


@pytest.mark.parametrize(("device", "gpu"), [("cuda:1", "cuda:1"), ("cpu", None), ("mps", None)])
def test_an_engine_knows_its_gpu(device: str, gpu: str | None):
    # There is no GPU here to put a network on.
    model = SimpleNamespace(mean=SimpleNamespace(device=torch.device(device)), config={})
    assert TorchEngine(model).gpu == gpu


def test_a_full_memory_is_told(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(gpu_decision, "_enlarge", fail)
    with pytest.raises(InputError, match="GPU's memory is too small"):
        gpu_decision.decide(upscored(4), (9, 9), 1, np.arange(4), None, np.ones(4), "cpu")
    engine = TorchEngine(build_tiny(["sky", "road"]))
    monkeypatch.setattr(engine.model, "maps", fail)
    with pytest.raises(InputError, match="GPU's memory is too small"):
        engine.maps(np.zeros((8, 8, 3), np.uint8))
