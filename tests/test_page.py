"""What the page says, and what its endpoint answers."""

import numpy as np
import pytest
from PIL import Image

from fcn import page
from fcn.photo import PhotoError
from fcn.segmentation import BACKGROUND, Segmentation
from fcn.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tiny_checkpoint) -> Segmenter:
    return Segmenter.load(tiny_checkpoint)


@pytest.fixture
def photo() -> Image.Image:
    return Image.effect_noise((90, 60), 80).convert("RGB")


def of_labels(labels: list[int], classes: tuple[str, ...]) -> Segmentation:
    ids = np.array([labels], np.uint8)
    palette = tuple((i, i, i) for i in range(len(classes)))
    return Segmentation(ids, np.ones(ids.shape, np.float32), classes, palette, "here", 0.25)


def test_page_says_what_is_found_and_by_which_weights(segmenter):
    text = page.about(segmenter)
    assert "Finds circle, square and triangle." in text
    assert "Weights: tiny, 12.5 % mIoU on shapes val" in text


def test_class_names_are_text(segmenter, monkeypatch):
    monkeypatch.setattr(segmenter, "classes", (BACKGROUND, "<img src=x onerror=alert(1)>"))
    assert "<img" not in page.about(segmenter)


@pytest.mark.parametrize("metrics", [{}, {"mean_iou": None}, {"mean_iou": "<b>"}])
def test_weights_without_a_score(segmenter, monkeypatch, metrics):
    monkeypatch.setattr(segmenter, "metrics", metrics)
    assert page.weights_line(segmenter) == "Weights: tiny"


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([0, 1, 1, 2], "Found cat and dog in 0.2 s."),
        ([0] * 99 + [1], "Found cat in 0.2 s."),
        ([0] * 100 + [1], "No cat, dog found. Try one of the examples."),
    ],
)
def test_found_line(labels, line):
    assert page.found_line(of_labels(labels, (BACKGROUND, "cat", "dog"))) == line


def test_unlike_photo_is_met_with_doubt_and_faint_colours(segmenter, photo, monkeypatch):
    sure = page.segment_for_page(segmenter, photo)
    assert (sure["caution"], sure["opacity"]) == ("", 1.0)
    monkeypatch.setattr(segmenter, "doubt_below", 1.1)
    unsure = page.segment_for_page(segmenter, photo)
    assert unsure["caution"] == page.DOUBT
    assert unsure["opacity"] == page.DOUBTFUL_OPACITY


def test_page_works_at_most_1600_pixels(segmenter):
    payload = page.segment_for_page(segmenter, Image.new("RGB", (3200, 1000)))
    with Image.open(payload["photo"]["path"]) as sent, Image.open(payload["mask"]["path"]) as mask:
        assert sent.size == mask.size == (1600, 500)


def test_endpoint_answers_at_the_photos_own_size(segmenter, photo):
    large = photo.resize((2000, 300))
    labels, overlay, summary = page.build_endpoint(segmenter)(large, 0.5, 16)
    with Image.open(labels) as ids, Image.open(overlay) as painted:
        assert (ids.mode, ids.size, painted.size) == ("P", (2000, 300), (2000, 300))
        pixels = np.bincount(np.asarray(ids).ravel(), minlength=4)
    assert summary["size"] == [2000, 300]
    for one in summary["classes"]:
        assert pixels[segmenter.classes.index(one["name"])] == one["pixels"]


@pytest.mark.parametrize("given", [None, PhotoError("It is no photo.")])
def test_endpoint_refuses_in_one_sentence(segmenter, given):
    with pytest.raises(page.gr.Error, match=r"^'?[^.]*\.'?$"):
        page.build_endpoint(segmenter)(given)
