"""The confusion matrix against scores worked out by hand, and what must not change it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fcn.metrics import IGNORE_INDEX, ConfusionMatrix

LABELS = np.array([[0, 0, 0, 0], [1, 1, 1, IGNORE_INDEX]])
PREDICTIONS = np.array([[0, 0, 0, 1], [1, 1, 2, 2]])


@pytest.fixture
def matrix() -> ConfusionMatrix:
    filled = ConfusionMatrix(["sky", "road", "car", "tree"])
    filled.update(LABELS, PREDICTIONS)
    return filled


def test_counts_by_hand(matrix: ConfusionMatrix) -> None:
    assert matrix.counts.tolist() == [[3, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_scores_by_hand(matrix: ConfusionMatrix) -> None:
    assert matrix.per_class_iou == {"sky": 3 / 4, "road": 2 / 4, "car": 0.0, "tree": None}
    assert matrix.mean_iou == pytest.approx((3 / 4 + 2 / 4 + 0) / 3)
    assert matrix.official_mean_iou == pytest.approx((3 / 4 + 2 / 4) / 4)
    assert matrix.pixel_accuracy == pytest.approx(5 / 7)
    assert matrix.mean_accuracy == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert matrix.fw_iou == pytest.approx(4 / 7 * 3 / 4 + 3 / 7 * 2 / 4)


def test_what_never_occurs_does_not_count_where_only_labelled_classes_do(
    matrix: ConfusionMatrix,
) -> None:
    assert matrix.mean_iou_of_labelled == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_an_empty_matrix_scores_nothing() -> None:
    empty = ConfusionMatrix(["sky", "road"])
    means = (empty.mean_iou, empty.mean_iou_of_labelled, empty.mean_accuracy)
    assert (*means, empty.pixel_accuracy, empty.fw_iou) == (0, 0, 0, 0, 0)


def test_summary_is_json_and_the_table_names_every_class(matrix: ConfusionMatrix) -> None:
    assert json.loads(json.dumps(matrix.summary())) == matrix.summary()
    assert all(name in matrix.table() for name in matrix.classes)
    assert "nan" not in ConfusionMatrix(["sky", "road"]).table()


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([0], [0, 1]), ([4], [0]), ([0], [4]), ([0], [IGNORE_INDEX]), ([-1], [0])],
)
def test_what_cannot_be_counted_is_refused(
    matrix: ConfusionMatrix, labels: list[int], predictions: list[int]
) -> None:
    with pytest.raises(ValueError, match="labels are|values are"):
        matrix.update(np.array(labels), np.array(predictions))


class_ids = arrays(np.uint8, st.integers(1, 50), elements=st.integers(0, 3))


@given(class_ids)
def test_a_perfect_prediction_scores_one(labels: np.ndarray) -> None:
    matrix = ConfusionMatrix("abcd")
    matrix.update(labels, labels)
    assert matrix.mean_iou == matrix.pixel_accuracy == matrix.mean_accuracy == 1
    assert matrix.fw_iou == pytest.approx(1)


@given(class_ids, st.integers(0, 50), st.randoms(use_true_random=False))
def test_batches_and_ignored_pixels_make_no_difference(labels, cut, random) -> None:
    predictions = labels.copy()
    random.shuffle(predictions)
    whole, parts = ConfusionMatrix("abcd"), ConfusionMatrix("abcd")
    whole.update(labels, predictions)
    for part in (slice(cut), slice(cut, None)):
        parts.update(labels[part], predictions[part])
    parts.update(np.full(3, IGNORE_INDEX), np.arange(3))
    assert (whole.counts == parts.counts).all()
