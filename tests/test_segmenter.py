"""The Segmenter: any size in, same size out; what it knows; what it refuses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn import saving
from fcn.errors import InputError
from fcn.inference.decision import softmax
from fcn.inference.fusion import STRIDES
from fcn.palette import distinct
from fcn.segmenter import Segmenter


class FixedEngine:
    """Answers with the same coarse scores, stretched over whatever picture it is shown."""

    name = "fixed"

    def __init__(self, num_classes: int = 4, **config: Any) -> None:
        self.config = {
            "classes": [f"class {i}" for i in range(num_classes)],
            "palette": None,
            "stride": 8,
            "inference_size": 64,
            "temperature": 1.0,
            "absent_below": 0.0,
            "doubt_below": 0.0,
            **config,
        }
        self.coarse = np.random.default_rng(0).normal(0, 3, (num_classes, 5, 6))
        self.seen: list[tuple[int, ...]] = []

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        self.seen.append(image.shape)
        rows = np.arange(image.shape[0]) * 5 // image.shape[0]
        columns = np.arange(image.shape[1]) * 6 // image.shape[1]
        return dict.fromkeys(strides, self.coarse[:, rows][:, :, columns].astype(np.float32))


@pytest.fixture(scope="module")
def segmenter(tiny_checkpoint: Path) -> Segmenter:
    return Segmenter.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((131, 97))


@pytest.mark.parametrize("stride", [None, *STRIDES])
@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (1, 1000), (97, 53), (640, 481)])
def test_labels_have_the_photos_size(segmenter: Segmenter, size: tuple[int, int], stride):
    result = segmenter(Image.new("RGB", size, (200, 90, 30)), stride)
    assert result.labels.shape == result.confidence.shape == size[::-1]
    assert result.labels.dtype == np.uint8 and result.confidence.dtype == np.float32
    assert result.labels.max() < len(segmenter.classes)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 200))
def test_any_size_gives_probabilities(width: int, height: int, inference_size: int):
    result = Segmenter(FixedEngine(inference_size=inference_size), "")(
        Image.new("RGB", (width, height))
    )
    assert result.size == (width, height)
    assert 0.25 <= result.confidence.min() <= result.confidence.max() <= 1
    assert sum(one.share for one in result.found()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("size", "inference_size", "seen"),
    [
        ((960, 720), 480, (360, 480)),
        ((720, 960), 480, (480, 360)),
        ((480, 360), 480, (360, 480)),
        ((10, 8), 480, (16, 20)),
        ((10000, 1), 480, (1, 480)),
        ((333, 111), 0, (111, 333)),
        ((4096, 10), 0, (5, 2048)),
    ],
)
def test_the_network_sees_its_own_size(size, inference_size, seen):
    engine = FixedEngine(inference_size=inference_size)
    Segmenter(engine, "")(Image.new("RGB", size))
    assert engine.seen == [(*seen, 3)]


def test_temperature_changes_the_confidence_alone(photo: Image.Image):
    plain, soft = (Segmenter(FixedEngine(temperature=t), "")(photo) for t in (1.0, 3.0))
    assert (plain.labels == soft.labels).mean() > 0.999
    assert soft.mean_confidence < plain.mean_confidence - 0.1


def test_a_class_that_is_nowhere_probable_is_not_found(photo: Image.Image):
    every, sure = (
        Segmenter(FixedEngine(temperature=6.0, absent_below=below), "")(photo)
        for below in (0.0, 0.5)
    )
    engine = FixedEngine()
    shares = softmax(engine.coarse / 6.0, 0).max((1, 2))
    gone = np.flatnonzero(shares < 0.5)
    assert 0 < len(gone) < 4
    assert set(gone) <= {one.id for one in every.found()}
    assert {one.id for one in sure.found()} == set(range(4)) - set(gone.tolist())


def test_what_looks_like_an_absent_class_is_background(photo: Image.Image):
    names = ["class 0", "background", "class 2", "class 3"]
    engine = FixedEngine(classes=names, absent_below=1.0)  # so that nothing else is found
    result = Segmenter(engine, "")(photo)
    assert [one.name for one in result.found()] == ["background"]
    # As sure as that the others are not there.
    shares = softmax(engine.coarse, 0)
    others = np.arange(4) != 1
    doubt = (shares.max((1, 2)) * others) @ shares[:, 0, 0]
    assert result.confidence[0, 0] == pytest.approx(1 - doubt, abs=1e-5)


def test_older_checkpoints_find_every_class(photo: Image.Image):
    engine = FixedEngine()
    del engine.config["absent_below"]
    assert Segmenter(engine, "").absent_below == 0


def test_scores_are_those_before_the_temperature(photo: Image.Image):
    engine = FixedEngine(temperature=3.0)
    scores = Segmenter(engine, "").scores(photo)
    assert scores.shape == (4, *engine.seen[0][:2])
    np.testing.assert_array_equal(scores, engine.scores(np.empty(engine.seen[0]), [8])[8])


def test_strides_differ_and_the_default_is_the_checkpoints(segmenter: Segmenter, photo):
    by_stride = {stride: segmenter(photo, stride).confidence for stride in STRIDES}
    assert not np.allclose(by_stride[8], by_stride[32])
    assert (segmenter(photo).confidence == by_stride[segmenter.stride]).all()


def test_results_are_deterministic(segmenter: Segmenter, tiny_checkpoint: Path, photo):
    first, again = segmenter(photo), Segmenter.load(tiny_checkpoint)(photo)
    assert (first.labels == again.labels).all()
    assert (first.confidence == again.confidence).all()


def test_a_live_model_answers_like_its_checkpoint(segmenter: Segmenter, tiny_checkpoint, photo):
    model = saving.load(tiny_checkpoint).train()
    live = Segmenter.of(model, "run")(photo)
    assert live.weights == "run" and not model.training
    np.testing.assert_allclose(live.confidence, segmenter(photo).confidence, atol=1e-4)


def test_it_knows_what_the_checkpoint_says(segmenter: Segmenter, tiny_checkpoint: Path):
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    assert list(segmenter.classes) == config["classes"]
    assert [list(color) for color in segmenter.palette] == config["palette"]
    assert segmenter.inference_size == config["inference_size"]
    assert segmenter.source == str(tiny_checkpoint)
    assert segmenter.metrics["mean_iou"] == 0.125
    assert segmenter.engine == "torch"


def test_metrics_and_palette_may_be_missing(tiny_checkpoint: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "bare")
    (folder / "metrics.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"palette": None}))
    segmenter = Segmenter.load(folder)
    assert segmenter.metrics == {}
    assert segmenter.palette == tuple(distinct(len(segmenter.classes)))


@pytest.mark.parametrize("stride", STRIDES)
def test_strides_finer_than_its_own_were_not_trained(stride: int):
    trained = Segmenter.of(build_tiny(CLASSES, stride=stride), "live").trained_strides
    assert trained == tuple(one for one in (32, 16, 8) if one >= stride)


@pytest.mark.parametrize("stride", [0, 4, 64, "8", 8.0])
def test_unknown_strides_are_refused(segmenter: Segmenter, photo, stride):
    with pytest.raises(InputError, match="8, 16 or 32"):
        segmenter(photo, stride)


def test_unknown_sources_engines_and_devices_are_refused(tiny_checkpoint: Path, tmp_path: Path):
    with pytest.raises(InputError, match="nowhere"):
        Segmenter.load("nowhere")
    with pytest.raises(InputError, match="not a checkpoint"):
        Segmenter.load(tmp_path)
    with pytest.raises(InputError, match="auto, onnx, torch"):
        Segmenter.load(tiny_checkpoint, engine="abacus")
    with pytest.raises(InputError, match="Device 'abacus'"):
        Segmenter.load(tiny_checkpoint, device="abacus")


def test_scores_that_are_not_finite_are_told(photo: Image.Image):
    engine = FixedEngine()
    engine.coarse[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        Segmenter(engine, "broken")(photo)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_found_and_agrees(segmenter: Segmenter, tiny_checkpoint: Path, photo):
    on_cpu = Segmenter.load(tiny_checkpoint, device="cpu")(photo)
    np.testing.assert_allclose(segmenter(photo).confidence, on_cpu.confidence, atol=1e-2)


def test_nothing_outside_the_engine_needs_torch(root: Path):
    """A server with another engine must not pay for torch's memory."""
    code = "import sys, fcn.segmenter, fcn.photo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_no_command_needs_torch_to_say_its_flags(root: Path):
    """Nobody waits seconds for an overview."""
    code = "import sys, fcn.__main__ as m; m.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize("other", ["x.jpg", None, np.zeros((8, 8, 3), np.uint8)])
def test_what_is_no_rgb_picture_is_told(other: Any, segmenter: Segmenter, photo: Image.Image):
    for wrong in (other, photo.convert("L"), photo.convert("RGBA")):
        with pytest.raises(InputError, match=r"Give an RGB picture, as fcn\.photo\.open_photo"):
            segmenter(wrong)
    with pytest.raises(InputError, match="Give the photo itself"):
        segmenter(photo).overlay(other)


def test_strides_together_are_those_apart_from_one_run(photo: Image.Image):
    engine = FixedEngine()
    segmenter = Segmenter(engine, "")
    together = segmenter.at_strides(photo, STRIDES)
    assert len(engine.seen) == 1
    assert list(together) == list(STRIDES)
    for stride, found in together.items():
        np.testing.assert_array_equal(found.labels, segmenter(photo, stride).labels)


def test_a_network_answers_all_strides_as_it_answers_each(segmenter, photo):
    together = segmenter.at_strides(photo, STRIDES)
    assert len({found.labels.tobytes() for found in together.values()}) == len(STRIDES)
    for stride, found in together.items():
        np.testing.assert_array_equal(found.labels, segmenter(photo, stride).labels)
