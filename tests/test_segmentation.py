"""What is read off a result: areas, the JSON summary, the indexed PNG and the overlay."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from fcn import segmentation
from fcn.errors import InputError
from fcn.palette import BACKGROUND, distinct
from fcn.segmentation import Segmentation, strips

CLASSES = ("cat", BACKGROUND, "dog", "cow")


def build(labels: list[list[int]] | np.ndarray, confidence: float = 0.75) -> Segmentation:
    """A result with these labels."""
    ids = np.array(labels, np.uint8)
    values = np.full(ids.shape, confidence, np.float32)
    return Segmentation(ids, values, CLASSES, tuple(distinct(4)), "weights", seconds=0.1234)


def test_found_is_in_order_of_size():
    found = build([[0, 0, 1], [1, 1, 3]]).found()
    assert [(one.id, one.name, one.pixels) for one in found] == [
        (1, BACKGROUND, 3),
        (0, "cat", 2),
        (3, "cow", 1),
    ]
    assert [one.share for one in found] == [3 / 6, 2 / 6, 1 / 6]
    assert {one.confidence for one in found} == {0.75}


@given(
    labels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 3)),
    confidence=st.floats(0, 1, width=32),
)
def test_shares_sum_to_one(labels: np.ndarray, confidence: float):
    result = build(labels, confidence)
    classes = result.summary()["classes"]
    assert sum(one["share"] for one in classes) == pytest.approx(1, abs=1e-9)
    assert sum(one["pixels"] for one in classes) == labels.size
    assert all(0 <= one["confidence"] <= 1 for one in classes)
    assert result.mean_confidence == pytest.approx(confidence)


def test_summary_is_the_promised_json():
    summary = json.loads(json.dumps(build([[0, 2, 2]]).summary()))
    assert set(summary) == {"classes", "size", "weights", "seconds"}
    assert summary["size"] == [3, 1]
    assert (summary["weights"], summary["seconds"]) == ("weights", 0.123)
    red, green, blue = distinct(4)[2]
    assert summary["classes"][0] == {
        "id": 2,
        "name": "dog",
        "color": f"#{red:02x}{green:02x}{blue:02x}",
        "pixels": 2,
        "share": 2 / 3,
        "confidence": 0.75,
    }


@pytest.mark.parametrize("count", [1, 2, 16, 17, 150, 254])
def test_palette_png_keeps_the_ids(count: int, tmp_path: Path):
    labels = np.arange(count, dtype=np.uint8).reshape(1, -1)
    names = tuple(map(str, range(count)))
    result = Segmentation(
        labels, np.ones(labels.shape, np.float32), names, tuple(distinct(count)), "", 0
    )
    result.palette_png().save(tmp_path / "mask.png")
    image = Image.open(tmp_path / "mask.png")
    assert image.mode == "P"
    assert (np.asarray(image) == labels).all()
    assert (np.asarray(image.convert("RGB"))[0] == distinct(count)).all()


@pytest.mark.parametrize("opacity", [0, 0.25, 0.6, 1])
def test_overlay_is_the_blend_formula(opacity: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segmentation, "STRIP_FLOATS", 40)  # several strips
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    result = build(random.integers(0, 4, (9, 7)))
    shown = np.asarray(result.overlay(Image.fromarray(pixels), opacity))
    alpha = np.where(result.labels == CLASSES.index(BACKGROUND), 0, opacity)[..., None]
    expected = (1 - alpha) * pixels + alpha * np.array(distinct(4))[result.labels]
    assert np.abs(shown - expected).max() <= 0.501
    if opacity == 0:
        assert (shown == pixels).all()


def test_overlay_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="size|pixels"):
        build([[0]]).overlay(Image.new("RGB", (2, 1)))
    with pytest.raises(InputError, match="1.5"):
        build([[0]]).overlay(Image.new("RGB", (1, 1)), 1.5)


def test_save_writes_three_files(tmp_path: Path):
    photo = Image.new("RGB", (3, 2), "white")
    paths = build([[0, 1, 2], [3, 0, 0]]).save(tmp_path / "new" / "out", "Straße", photo)
    assert [path.name for path in paths] == ["Straße.png", "Straße_overlay.png", "Straße.json"]
    mask, overlay = Image.open(paths[0]), Image.open(paths[1])
    assert mask.size == overlay.size == photo.size
    assert np.asarray(mask).tolist() == [[0, 1, 2], [3, 0, 0]]
    assert json.loads(paths[2].read_text("utf-8"))["size"] == [3, 2]


@given(st.integers(1, 500), st.integers(1, 10**8))
def test_strips_cover_each_row_once(height: int, floats_per_row: int):
    rows = [row for cut in strips(height, floats_per_row) for row in range(height)[cut]]
    assert rows == list(range(height))
