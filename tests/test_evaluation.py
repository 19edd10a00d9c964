"""Scoring: counts by hand, the protocol's corners, and the official scorer on real labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.data.datasets import SegmentationDataset, open_dataset
from fcn.errors import InputError
from fcn.evaluation import (
    PROTOCOL,
    check_classes,
    describe,
    describe_official,
    evaluate,
    evaluate_strides,
)
from fcn.metrics import ConfusionMatrix
from fcn.palette import SCENE_PARSING
from fcn.segmenter import Segmenter

CLASSES = ("sky", "road", "car")


class RedEngine:
    """Predicts the class whose number is a pixel's red value."""

    name = "red"

    def __init__(self, classes: tuple[str, ...] = CLASSES) -> None:
        self.config = {
            "classes": list(classes),
            "palette": None,
            "stride": 16,
            "inference_size": 0,
            "temperature": 1.0,
            "doubt_below": 0.0,
        }

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        ids = np.arange(len(self.config["classes"]))[:, None, None]
        return dict.fromkeys(strides, 9 * (image[..., 0] == ids).astype(np.float32))


class Pairs(SegmentationDataset):
    """Pairs of predictions, written into red values, and labels."""

    def __init__(self, *pairs: tuple[list[list[int]], list[list[int]]]) -> None:
        self.name, self.split, self.classes = "folder", "val", CLASSES
        self.stored, self.reads = pairs, 0

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        self.reads += 1
        predicted, labels = (np.array(one, np.uint8) for one in self.stored[index])
        return Image.fromarray(np.stack([predicted] * 3, 2)), labels


PAIRS = (
    ([[0, 0, 1], [1, 2, 2]], [[0, 1, 1], [1, 255, 255]]),
    ([[2, 2]], [[1, 0]]),
)


def test_counts_are_those_by_hand():
    dataset = Pairs(*PAIRS)
    matrix, confidences = evaluate(Segmenter(RedEngine(), "x"), dataset, progress=False)
    assert matrix.counts.tolist() == [[1, 0, 1], [1, 2, 1], [0, 0, 0]]
    assert matrix.mean_iou == pytest.approx((1 / 3 + 2 / 4 + 0) / 3)
    assert dataset.reads == 2 == len(confidences)
    assert all(0.99 < one < 1 for one in confidences)


def test_perfect_predictions_score_one():
    pairs = [(predicted, predicted) for predicted, _ in PAIRS]
    matrix, _ = evaluate(Segmenter(RedEngine(), "x"), Pairs(*pairs), progress=False)
    assert matrix.mean_iou == matrix.pixel_accuracy == matrix.fw_iou == 1


@pytest.mark.parametrize(
    ("options", "scored"), [({"limit": 1}, 1), ({"indices": [1]}, 1), ({"limit": 9}, 2)]
)
def test_some_of_the_photos(options: dict, scored: int):
    dataset = Pairs(*PAIRS)
    _, confidences = evaluate(Segmenter(RedEngine(), "x"), dataset, progress=False, **options)
    assert len(confidences) == scored


def test_parts_add_up_to_the_whole():
    """Several processes that share a split count each image once."""
    segmenter, dataset = Segmenter(RedEngine(), "x"), Pairs(*PAIRS)
    whole, _ = evaluate(segmenter, dataset, progress=False)
    parts = [evaluate(segmenter, dataset, progress=False, indices=range(i, 2, 2)) for i in (0, 1)]
    assert (parts[0][0].counts + parts[1][0].counts == whole.counts).all()


@pytest.mark.parametrize(
    ("classes", "difference"),
    [
        (("sky", "road", "bus"), "only the checkpoint has bus, and only the data set has car"),
        (("sky", "road"), "only the data set has car"),
        (("road", "sky", "car"), "the checkpoint's order is road, sky, car"),
    ],
)
def test_other_classes_are_refused_before_any_work(classes: tuple[str, ...], difference: str):
    dataset = Pairs(*PAIRS)
    with pytest.raises(InputError, match=difference):
        evaluate(Segmenter(RedEngine(classes), "x"), dataset, progress=False)
    assert dataset.reads == 0


def test_long_differences_stay_short():
    with pytest.raises(InputError, match="wall, building, sky, floor, tree and 145 more"):
        check_classes(list(SCENE_PARSING), ["cat"])


def test_the_bar_shows_the_score_so_far(capsys: pytest.CaptureFixture[str]):
    evaluate(Segmenter(RedEngine(), "x"), Pairs(*PAIRS))
    shown = capsys.readouterr()
    assert shown.out == "" and "mIoU" in shown.err and "folder val" in shown.err


def test_the_report_names_its_protocol():
    segmenter, dataset = Segmenter(RedEngine(), "x"), Pairs(*PAIRS)
    matrix, _ = evaluate(segmenter, dataset, progress=False)
    report = describe(matrix, dataset, segmenter, seconds=1.26)
    assert report == {
        **matrix.summary(),
        "dataset": "folder",
        "split": "val",
        "images": 2,
        "engine": "red",
        "stride": 16,
        "inference_size": 0,
        "absent_below": 0.0,
        "protocol": PROTOCOL,
        "seconds": 1.3,
    }
    assert describe(matrix, dataset, segmenter, stride=32)["stride"] == 32


def test_official_protocol_counts_absent_classes():
    matrix = ConfusionMatrix(list(SCENE_PARSING))
    matrix.update(np.array([0, 1, 1, 255]), np.array([0, 1, 0, 7]))
    official = describe_official(matrix)
    assert official["mean_iou"] == pytest.approx((1 / 2 + 1 / 2) / 150)
    assert official["score"] == pytest.approx((2 / 3 + 1 / 150) / 2)


def test_official_protocol_agrees_with_the_devkit(real_data: Path):
    """The devkit's own result for these masks against themselves: 0.1000 and 100 %."""
    dataset = open_dataset("scene_parsing", real_data, "validation")
    matrix = ConfusionMatrix(dataset.classes)
    for index in range(len(dataset)):
        labels = dataset.read(index)[1]
        matrix.update(labels, np.where(labels == 255, 0, labels))
    report = describe(matrix, dataset, Segmenter(RedEngine(dataset.classes), "x"))
    assert round(report["official"]["mean_iou"], 4) == 0.1
    assert report["official"]["pixel_accuracy"] == 1
    assert report["mean_iou"] == 1


def test_real_photos_are_scored_at_the_labels_size(real_data: Path, tmp_path: Path):
    dataset = open_dataset("camvid", real_data, "val")
    segmenter = Segmenter(RedEngine(dataset.classes), "x")
    matrix, _ = evaluate(segmenter, dataset, limit=2, progress=False)
    labels = [dataset.read(index)[1] for index in (0, 1)]
    assert matrix.counts.sum() == sum((one != 255).sum() for one in labels)


def test_strides_together_score_as_each_alone(tiny_checkpoint: Path):
    segmenter, dataset = Segmenter.load(tiny_checkpoint), open_dataset("shapes", "", "val")
    seen: list[int] = []
    together = evaluate_strides(
        segmenter, dataset, (32, 8), False, range(3), lambda index, *_: seen.append(index)
    )
    assert seen == [0, 1, 2]
    for stride, (matrix, confidences) in together.items():
        alone, alike = evaluate(segmenter, dataset, stride, limit=3, progress=False)
        assert matrix.counts.tolist() == alone.counts.tolist()
        assert confidences == alike
    assert together[32][0].counts.tolist() != together[8][0].counts.tolist()
