"""Calibration against numbers known beforehand, and the choice of a size."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from PIL import Image

from fcn import checkpoint, saving
from fcn.__main__ import main
from fcn.data.datasets import SegmentationDataset, open_dataset
from fcn.errors import InputError
from fcn.inference.decision import softmax, surest
from fcn.inference.engines import load_engine
from fcn.segmenter import Segmenter
from fcn.training.config import TrainConfig
from fcn.training.fitting import (
    calibrate_presence,
    choose_absence,
    find_doubt,
    find_shown,
    fit,
    fit_temperature,
    served_error,
    temperature_error,
)
from fcn.training.trainer import Trainer

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(20_000, 5)).astype(np.float32) * 2
SHAPES = [open_dataset("shapes", "", split) for split in ("train", "val")]
for one in SHAPES:
    one.pairs = one.pairs[:20]
LABELS = np.array([GENERATOR.choice(5, p=p) for p in softmax(LOGITS.astype(np.float64), 1)])


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    assert fit_temperature(factor * LOGITS, LABELS) == pytest.approx(factor, rel=0.03)


def test_logits_that_tell_the_truth_have_no_calibration_error() -> None:
    assert temperature_error(LOGITS, LABELS, 1.0) < 0.02
    assert temperature_error(LOGITS, LABELS, 0.3) > 0.1


def test_the_calibration_error_is_that_by_hand() -> None:
    logits = np.log(np.array([[0.9, 0.1]] * 10))
    assert temperature_error(logits, np.array([0] * 6 + [1] * 4), 1.0) == pytest.approx(0.3)


def test_no_pixel_leaves_confidences_as_they_are() -> None:
    assert fit_temperature(np.empty((0, 3), np.float32), np.empty(0, int)) == 1


def test_one_photo_in_twenty_is_doubtful() -> None:
    assert find_doubt(list(np.linspace(0, 1, 101))) == pytest.approx(0.05)
    assert find_doubt([]) == 0  # of a process without photos


def test_no_size_is_tried_that_could_not_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcn.training.fitting.LARGEST_SIZE", 70)
    fitted = fit(Segmenter.of(build_tiny(CLASSES), "tiny"), *SHAPES, 60, progress=False)
    assert max(map(int, fitted["mean_iou_by_size"])) == 70


def test_what_is_fitted_is_set_and_reported() -> None:
    segmenter = Segmenter.of(build_tiny(CLASSES), "tiny")
    fitted = fit(segmenter, *SHAPES, 80, progress=False)
    by_size = fitted["mean_iou_by_size"]
    assert list(by_size) == ["56", "68", "80", "96", "112"]
    assert max(by_size, key=lambda size: by_size[size]) == str(fitted["inference_size"])
    assert (segmenter.inference_size, segmenter.temperature) == (
        fitted["inference_size"],
        fitted["temperature"],
    )
    error = fitted["calibration_error"]
    assert 0 <= error["after"] < error["before"]
    assert fitted["temperature"] != 1


def test_a_processor_fits_in_the_precision_that_it_is_fast_in_and_then_serves_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fcn.training.fitting.find_precision", lambda wanted: "bf16")
    model, dtypes = build_tiny(CLASSES), set()
    model.backbone.classifier.register_forward_hook(lambda *told: dtypes.add(told[2].dtype))
    segmenter = Segmenter.of(model, "tiny")
    fit(segmenter, *SHAPES, 32, progress=False)  # small, as many processors are slow in it
    assert dtypes == {torch.bfloat16}
    dtypes.clear()
    segmenter(SHAPES[1].read(0)[0])
    assert dtypes == {torch.float32}


@pytest.mark.parametrize(("has_background", "chosen"), [(False, 0.5), (True, 0.7)])
def test_with_a_background_the_highest_threshold_is_taken_that_is_worth_its_price(
    has_background: bool, chosen: float
) -> None:
    scores = {0.0: 0.79, 0.5: 0.8, 0.6: 0.8, 0.7: 0.791, 0.8: 0.789}
    assert choose_absence(scores, has_background) == chosen


def test_presence_is_calibrated_on_photos_with_labels() -> None:
    model, val = build_tiny(CLASSES, presence=True), SHAPES[1]
    segmenter = Segmenter.of(model, "tiny")
    shown = torch.stack([find_shown(val.read_labels(index), 4) for index in range(len(val))])

    def told() -> torch.Tensor:
        """How probable the classes are, over all photos, that an untrained network sees most."""
        sure = [surest(segmenter.scores(val.read(index)[0]), 1.0) for index in range(len(val))]
        return torch.from_numpy(np.mean(sure, 0)[[1, 3]])

    torch.nn.init.constant_(model.presence.bias, -4.0)  # it never says that there is one
    before = told()
    calibrate_presence(segmenter, segmenter._engine, val, range(len(val)))
    true = shown[:, [1, 3]].float().mean(0)
    assert (told() - true).abs().max() < 0.05 and (before - true).abs().min() > 0.5


class Unlabelled(SegmentationDataset):
    """Photos of which nothing is known."""

    def __init__(self) -> None:
        self.name, self.split, self.size = "folder", "val", 32
        self.classes = CLASSES

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        return Image.new("RGB", (32, 32)), np.full((32, 32), 255, np.uint8)


def test_presence_stays_as_it_is_where_no_photo_tells_anything() -> None:
    model = build_tiny(CLASSES, presence=True)
    torch.nn.init.constant_(model.presence.bias, 1.5)
    calibrate_presence(
        segmenter := Segmenter.of(model, ""), segmenter._engine, Unlabelled(), [0, 1]
    )
    assert (model.presence.bias == 1.5).all()


class Speck(SegmentationDataset):
    """A road and sky and nothing else, whatever a network sees in the corner."""

    def __init__(self) -> None:
        self.name, self.split, self.size = "folder", "val", 32
        self.classes = ("sky", "road", "pole")

    def __len__(self) -> int:
        return 4

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        labels = np.zeros((32, 32), np.uint8)
        labels[:8] = 1
        return Image.new("RGB", (32, 32)), labels


class Unsure:
    """An engine that is sure of sky and road, and takes a corner for a pole without much doubt."""

    name = "unsure"
    config: ClassVar[dict[str, Any]] = {
        **{"classes": ["sky", "road", "pole"], "palette": None, "stride": 8},
        **{"inference_size": 32, "temperature": 1.0, "absent_below": 0.9, "doubt_below": 0.0},
    }

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        logits = np.zeros((3, *image.shape[:2]), np.float32)
        logits[0], logits[1, : len(image) // 4] = 5, 10
        logits[2, -5:, -5:] = 6  # 73 %
        return dict.fromkeys(strides, logits)


def test_a_class_that_is_never_sure_is_fitted_away() -> None:
    segmenter = Segmenter(Unsure(), "")
    fitted = fit(segmenter, Speck(), Speck(), 32, progress=False)
    scores = fitted["mean_iou_by_absent_below"]
    assert scores["0.0"] < 0.99
    assert scores[str(fitted["absent_below"])] == 1 == max(scores.values())
    assert segmenter.absent_below == fitted["absent_below"] > 0
    # The lowest of those that score the same: nothing is thrown away for nothing.
    assert all(scores[one] < 1 for one in scores if float(one) < fitted["absent_below"])
    assert {one.id for one in segmenter(Speck().read(0)[0]).found()} == {0, 1}


class Scattered(Unsure):
    """An engine that sees specks of five absent classes, more surely than the road, or sky alone.

    The latter in a small picture.
    """

    config: ClassVar[dict[str, Any]] = {**Unsure.config, "classes": ["sky", "road", *"abcde"]}

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        logits = np.zeros((7, *image.shape[:2]), np.float32)
        logits[0] = 5
        if len(image) >= 32:
            logits[1, : len(image) // 4] = 5.7  # 66 %
            for index in range(5):
                logits[2 + index, -4:, 4 * index : 4 * index + 4] = 6.5  # 80 %
        return dict.fromkeys(strides, logits)


def test_a_class_that_no_photo_shows_decides_nothing() -> None:
    segmenter, shown = Segmenter(Scattered(), ""), Speck()
    shown.classes = segmenter.classes
    fitted = fit(segmenter, shown, shown, 32, progress=False)
    # By the mean over what is found, too, road would be given up with the specks.
    by_size, by_absence = fitted["mean_iou_by_size"], fitted["mean_iou_by_absent_below"]
    assert by_size["22"] > by_size["32"] and fitted["inference_size"] >= 32
    assert by_absence["0.9"] > by_absence["0.0"] and fitted["absent_below"] == 0


def test_the_error_of_what_is_served_is_that_of_its_confidences() -> None:
    engine = Unsure()
    engine.config = {**Unsure.config, "classes": ["background", "road", "pole"]}
    segmenter, (photo, labels) = Segmenter(engine, ""), Speck().read(0)
    found = segmenter(photo)
    assert (found.labels == labels).all()  # no pole is found
    # The corner is background if it is no pole, and a pole is there by 73 %.
    assert found.confidence[-1, -1] == pytest.approx(0.27 + 0.73 * 0.27, abs=0.01)
    whole = (1 - found.confidence).mean()
    assert served_error(segmenter, Speck(), [0]) == pytest.approx(whole, rel=0.1)
    segmenter.absent_below = 0.0  # the pole is found, and wrong
    wrong = found.confidence.size * served_error(segmenter, Speck(), [0])
    assert wrong > 25 * 0.7


class Halves(SegmentationDataset):
    """Plain photos whose labels are right on every other one, and wrong on the rest."""

    def __init__(self) -> None:
        self.name, self.split, self.size = "folder", "val", 32
        self.classes = ("sky", "road")

    def __len__(self) -> int:
        return 8

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        return Image.new("RGB", (32, 32)), np.full((32, 32), index % 2, np.uint8)


class Sky:
    """An engine that is fairly sure to see sky everywhere."""

    name = "sky"
    config: ClassVar[dict[str, Any]] = {
        **{"classes": ["sky", "road"], "palette": None, "stride": 8, "inference_size": 32},
        **{"temperature": 1.0, "doubt_below": 0.0},
    }

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        logits = np.zeros((2, *image.shape[:2]), np.float32)
        logits[0] = 1
        return dict.fromkeys(strides, logits)


def test_a_temperature_that_does_not_help_elsewhere_is_not_kept() -> None:
    segmenter = Segmenter(Sky(), "")
    fitted = fit(segmenter, Halves(), Halves(), 32, progress=False)
    assert fitted["temperature"] == segmenter.temperature == 1
    error = fitted["calibration_error"]
    assert error["after"] == error["before"] > 0.5


def test_sizes_that_photos_are_not_enlarged_to_are_not_tried() -> None:
    fitted = fit(Segmenter(Sky(), ""), Halves(), Halves(), 60, progress=False)
    assert list(fitted["mean_iou_by_size"]) == ["42", "51", "60", "64"]


def test_one_photo_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halves, "__len__", lambda _: 1)
    fitted = fit(Segmenter(Sky(), ""), Halves(), Halves(), 32, progress=False)
    assert fitted["temperature"] == 1 and fitted["photos"] == 1


def config_in(folder: Path) -> TrainConfig:
    """A run on drawn scenes that takes moments."""
    sizes = {"width": 8, "crop": (32, 32), "batch_size": 2, "workers": 0, "precision": "fp32"}
    return TrainConfig("shapes", backbone_weights="none", output=str(folder / "run"), **sizes)


@pytest.fixture
def tiny_run(tmp_path: Path) -> Path:
    """A run on drawn scenes that was stopped after a step, with an int8 file."""
    trainer = Trainer(config_in(tmp_path))
    trainer.step(next(trainer.batches()))
    trainer.validate()
    assert main(["export", str(tmp_path / "run"), "--images", "2"]) == 0
    return tmp_path / "run"


def test_a_checkpoint_is_fitted_by_command(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.resolve(tiny_run))
    git = checkpoint.resolve(tiny_run) / ".git"
    git.mkdir()
    (git / "config").write_text("of a clone")
    assert main(["fit", "."]) == 0
    assert (git / "config").read_text() == "of a clone"
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    folder = checkpoint.resolve(tiny_run)
    model, metrics = saving.load(folder), checkpoint.read_json(folder, "metrics.json")
    assert (model.inference_size, model.temperature) == (
        told["inference_size"],
        told["temperature"],
    )
    assert metrics["fitted"] == told
    assert model.presence is not None and told["training_photos"] == 10
    assert model.presence.weight.any()
    # The int8 file is of the new weights.
    assert "presence" in load_engine(folder, "onnx").maps(np.zeros((32, 32, 3), np.uint8))
    assert metrics["int8"]["engine"] == "onnx"
    assert list(metrics["strides"]) == ["32", "16", "8"]


def test_a_run_that_was_never_scored_is_fitted_and_then_goes_on(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    stopped = Trainer(config)
    stopped.step(next(stopped.batches()))
    stopped.save()
    before = stopped.model.config
    assert main(["fit", str(tmp_path / "run")]) == 0
    folder = checkpoint.resolve(tmp_path / "run")
    assert checkpoint.read_json(folder, "metrics.json")["split"] == "val"
    assert saving.load(folder).presence is not None
    resumed = Trainer(dataclasses.replace(config, resume=True))
    assert resumed.progress.step == 1
    assert resumed.model.config == before  # what was fitted was fitted to other weights


def test_a_fit_that_fails_half_way_spoils_nothing(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint.resolve(tiny_run)
    before = {file: file.read_bytes() for file in folder.iterdir()}

    def fail(draft: Path, *_: object) -> None:
        assert (draft / "model.safetensors").read_bytes() != before[folder / "model.safetensors"]
        raise InputError("the disk is full")

    monkeypatch.setattr("fcn.export.add_int8", fail)
    assert main(["fit", str(tiny_run)]) == 1
    assert capsys.readouterr().err.endswith("the disk is full\n")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert {file.name for file in tiny_run.iterdir()} == {"best", folder.name}


@pytest.mark.parametrize("command", ["fit", "export"])
def test_what_cannot_be_written_is_told_before_the_work(
    command: str,
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.access", lambda *asked: False)  # who is root may write anywhere
    assert main([command, str(tiny_checkpoint), "--data", "nowhere"]) == 1
    assert capsys.readouterr().err.endswith("is read-only.\n")


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("training", "told"),
    [
        ("{}", "does not say on what it was trained"),
        ('{"config": null}', "does not say on what it was trained"),
        ('{"config": {"dataset": ["x"]}}', "cannot be used: dataset is ['x']."),
    ],
)
def test_a_command_needs_to_know_the_data(
    command: str,
    training: str,
    told: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    (folder / "training.json").write_text(training)
    assert main([command, str(folder)]) == 1
    assert told in capsys.readouterr().err


def test_a_fit_needs_to_know_how_it_learned(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint.resolve(tiny_run)
    training = checkpoint.read_json(folder, "training.json")
    del training["history"]  # of which the plots are
    checkpoint.write_json(folder / "training.json", training)
    capsys.readouterr()
    assert main(["fit", str(tiny_run)]) == 1
    assert capsys.readouterr().err.endswith(f"{folder} does not say on what it was trained.\n")
