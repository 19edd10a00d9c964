"""Labels and confidences at the photo's size: exact interpolation, tiles, memory, speed of many."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.inference import decision
from fcn.inference.decision import decide, find_present, softmax, surest
from fcn.inference.fusion import Upscored

SIZES = [(64, 48), (131, 97), (640, 480), (20, 300), (300, 20), (33, 7), (7, 5), (1, 1), (9000, 1)]


def coarse(count: int = 4, height: int = 48, width: int = 64, spread: float = 3) -> np.ndarray:
    """Random scores (C, h, w) that change every eight pixels or so, as a network's do."""
    noise = torch.randn(count, height // 8 + 2, width // 8 + 2, generator=torch.manual_seed(0))
    scores = F.interpolate(noise[None] * spread, size=(height, width), mode="bicubic")[0]
    return scores.numpy()


def weights(size: int, count: int) -> np.ndarray:
    """Bilinear interpolation of a line of scores as a matrix (size, count), anti-aliased."""
    step = count / size
    centers = (np.arange(size)[:, None] + 0.5) * step - 0.5
    near = np.maximum(0, 1 - np.abs(np.arange(count) - centers) / max(step, 1))
    return near / near.sum(1, keepdims=True)


def whole(scores: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and confidences by the textbook, of everything at once."""
    _, height, width = scores.shape
    large = weights(size[1], height) @ scores @ weights(size[0], width).T
    odds = np.exp(large - large.max(0))
    return large.argmax(0), 1 / odds.sum(0)


@pytest.mark.parametrize("spread", [1, 3, 30])
@pytest.mark.parametrize("size", SIZES)
def test_scores_are_brought_to_size_bilinearly(size: tuple[int, int], spread: float):
    scores = coarse(7, spread=spread)
    labels, confidence = decide(scores, size)
    expected = whole(scores, size)
    assert labels.shape == confidence.shape == size[::-1]
    assert labels.dtype == np.uint8 and confidence.dtype == np.float32
    assert (labels == expected[0]).mean() > 0.999 or labels.size == 1
    np.testing.assert_allclose(confidence, expected[1], atol=3e-5)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    columns=st.integers(1, 40),
    rows=st.integers(1, 40),
)
def test_any_two_sizes_go_together(width: int, height: int, columns: int, rows: int):
    scores = coarse(3, rows, columns, spread=8)
    _, confidence = decide(scores, (width, height))
    np.testing.assert_allclose(confidence, whole(scores, (width, height))[1], atol=3e-5)


@pytest.mark.parametrize("side", [1, 7, 1000])
def test_tiles_do_not_show(side: int, monkeypatch: pytest.MonkeyPatch):
    scores = coarse(5)
    labels, confidence = decide(scores, (133, 97))
    monkeypatch.setattr(decision, "SIDE", side)
    again = decide(scores, (133, 97))
    assert (labels == again[0]).mean() > 0.999
    np.testing.assert_allclose(confidence, again[1], atol=2e-6)


def test_the_first_of_equals_is_chosen():
    labels, confidence = decide(np.zeros((4, 3, 3), np.float32), (9, 9))
    assert (labels == 0).all() and (confidence == 0.25).all()


@pytest.mark.parametrize("spread", [0.1, 6])
def test_memory_does_not_grow_with_the_classes(spread: float):
    """150 classes at a photo's size would be 288 MB of scores here."""
    scores = coarse(150, spread=spread)
    tracemalloc.start()
    decide(scores, (800, 600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_classes_far_behind_are_not_looked_at(monkeypatch: pytest.MonkeyPatch):
    """Of 150 classes a tile holds a few: what else there is must cost next to nothing."""
    scores = coarse(150, spread=1)
    scores[5:] -= 40
    seen = []
    choose = decision._choose
    monkeypatch.setattr(
        decision, "_choose", lambda tile, ids, *more: seen.extend(ids) or choose(tile, ids, *more)
    )
    labels, confidence = decide(scores, (200, 150))
    assert set(seen) == set(range(5))
    np.testing.assert_allclose(confidence, whole(scores, (200, 150))[1], atol=3e-5)


@pytest.mark.parametrize("count", [4, 150])
@pytest.mark.parametrize("ids", [[0, 2, 3], [1], [0, 1, 2, 3]])
def test_classes_that_are_absent_lower_the_confidence_of_the_others(count: int, ids: list[int]):
    scores = coarse(count)
    present = np.array(ids + list(range(4, count // 2)))
    labels, confidence = decide(scores, (131, 97), present=present)
    large = weights(97, 48) @ scores @ weights(131, 64).T
    expected = present[large[present].argmax(0)]
    assert (labels == expected).mean() > 0.999
    probabilities = softmax(large, 0)
    chosen = np.take_along_axis(probabilities, labels[None].astype(int), 0)[0]
    np.testing.assert_allclose(confidence, chosen, atol=3e-5)


def peaks(highest: list[float]) -> np.ndarray:
    """Scores of as many classes, each with this probability in a cell of its own."""
    count = len(highest)
    probabilities = np.full((count, count), 1e-3)
    np.fill_diagonal(probabilities, highest)
    probabilities[-1] += 1 - probabilities.sum(0)  # the last class takes what is left of a cell
    return np.log(probabilities)[:, None].astype(np.float32)


@pytest.mark.parametrize(
    ("below", "background", "present"),
    [
        (0.0, None, [0, 1, 2, 3]),
        (0.5, None, [1, 2, 3]),
        (0.8, None, [2, 3]),
        (0.8, 0, [0, 2, 3]),
        (1.0, None, [3]),  # one is left, whatever is asked for
        (1.0, 1, [1]),
    ],
)
def test_a_class_is_absent_if_it_is_nowhere_probable(below, background, present):
    scores = peaks([0.3, 0.6, 0.9, 0.95])
    assert find_present(surest(scores, 1.0), below, background).tolist() == present


def test_presence_counts_as_well():
    kernel = np.ones((4, 1, 16, 16), np.float32)
    shown = np.array([1, 1, 0.5, 1])
    scores = Upscored(peaks([0.3, 0.6, 0.9, 0.95]), kernel, (8, 32), presence=shown)
    assert find_present(surest(scores, 1.0), 0.5).tolist() == [1, 3]


@pytest.mark.parametrize("count", [4, 150])
def test_what_looks_like_an_absent_class_is_background(count: int):
    scores = np.full((count, 1, 1), -9, np.float32)
    scores[:4, 0, 0] = np.log([0.2, 0.4, 0.3, 0.1])
    present = np.array([0, 2])
    label, confidence = decide(scores, (1, 1), present=present)
    assert (label.item(), confidence.item()) == (2, pytest.approx(0.3, abs=0.01))
    label, confidence = decide(scores, (1, 1), present=present, background=0)
    assert (label.item(), confidence.item()) == (0, pytest.approx(0.7, abs=0.01))
    sure = np.array([0.9, 0.75, 0.98, 0.5] + [0.1] * (count - 4))
    label, confidence = decide(scores, (1, 1), present=present, background=0, sure=sure)
    # It may be one of the absent classes all the same: 0.2 + 0.4 / 4 + 0.1 / 2.
    assert (label.item(), confidence.item()) == (0, pytest.approx(0.35, abs=0.01))


def test_presence_is_that_at_the_temperature():
    scores = peaks([0.3, 0.6, 0.9, 0.95])
    softer = softmax(scores / np.float32(4), 0).max((1, 2))
    below = float(softer[2]) + 1e-4
    assert 2 in find_present(surest(scores, 1.0), below)
    assert 2 not in find_present(surest(scores, 4.0), below)


def test_presence_is_seen_in_the_cells_and_nothing_else_is_made(monkeypatch: pytest.MonkeyPatch):
    kernel = np.ones((4, 1, 16, 16), np.float32)
    scores = Upscored(peaks([0.3, 0.6, 0.9, 0.95]), kernel, (8, 32))
    monkeypatch.setattr(Upscored, "__getitem__", None)
    assert find_present(surest(scores, 1.0), 0.5).tolist() == [1, 2, 3]


def test_scores_that_are_not_numbers_are_not_absent():
    scores = peaks([0.3, 0.6, 0.9, 0.95])
    scores[1] = np.nan
    assert 1 in find_present(surest(scores, 1.0), 0.8, 0)
