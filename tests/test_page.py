"""What the page says, and what its endpoint answers."""

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from visiting import by_color

from fcn.demo import answer, endpoint, page
from fcn.demo.photo_input import Given
from fcn.palette import BACKGROUND
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter(tiny_checkpoint) -> Segmenter:
    return Segmenter.load(tiny_checkpoint)


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that uploads come into."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def photo() -> Image.Image:
    return Image.effect_noise((90, 60), 80).convert("RGB")


def of_labels(labels: list[int], classes: tuple[str, ...]) -> Segmentation:
    ids = np.array([labels], np.uint8)
    palette = tuple((i, i, i) for i in range(len(classes)))
    return Segmentation(ids, np.ones(ids.shape, np.float32), classes, palette, "here", 0.25)


def test_page_says_what_is_found_and_by_which_weights(segmenter):
    text = page.about(segmenter, "From <the> Hub.")
    assert "Finds circle, square and triangle." in text
    assert "Weights: tiny, 12.5 % mIoU on shapes val" in text
    assert "From &lt;the&gt; Hub." in text


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
        ([0] * 100 + [1], "Found no more than a trace of cat."),
        ([0], "Found nothing: this network knows cat and dog."),
    ],
)
def test_found_line(labels, line):
    assert answer.found_line(of_labels(labels, (BACKGROUND, "cat", "dog"))) == line


def test_unlike_photo_is_met_with_doubt_and_faint_colours(segmenter, photo, monkeypatch):
    sure = answer.result_for_page(segmenter, photo, segmenter(photo), "photo")
    assert (sure["caution"], sure["opacity"], sure["name"]) == ("", 1.0, "photo")
    monkeypatch.setattr(segmenter, "doubt_below", 1.1)
    unsure = answer.result_for_page(segmenter, photo, segmenter(photo), "photo")
    assert unsure["caution"] == answer.DOUBT
    assert unsure["opacity"] == answer.DOUBTFUL_OPACITY


def test_page_works_at_most_1600_pixels(segmenter, uploads):
    Image.new("RGB", (3200, 1000)).save(uploads / "wide.png")
    given, networks = Given("wide.png", str(uploads / "wide.png")), {"tiny": segmenter}
    payload = page._answer(networks, "tiny", given)
    with Image.open(payload["photo"]["path"]) as sent:
        assert sent.size == (1600, 500)
    mask = zlib.decompress(Path(payload["mask"]["path"]).read_bytes())
    assert len(mask) == 2 * 1600 * 500
    assert (payload["of"], payload["name"]) == (str(uploads / "wide.png"), "wide")


@pytest.mark.parametrize(
    "value",
    [
        *(None, {}, {"name": "photo"}, {"name": "photo", "photo": {"path": None}}),
        {"name": "photo", "photo": {"path": __file__}},
        {"name": "photo", "of": __file__, "photo": {"path": __file__}},
    ],
)
def test_only_photos_that_came_through_the_server_are_seen_again(segmenter, value):
    with pytest.raises(page.gr.Error):
        page._answer_again({"tiny": segmenter}, "tiny", value)


def test_endpoint_answers_at_the_photos_own_size(segmenter, photo, uploads):
    photo.resize((2000, 300)).save(uploads / "large.png")
    segment = endpoint.build_endpoint({segmenter.source: segmenter})
    labels, overlay, summary = segment({"path": str(uploads / "large.png")}, 0.5, 16)
    with Image.open(labels) as ids, Image.open(overlay) as painted:
        assert (ids.mode, ids.size, painted.size) == ("P", (2000, 300), (2000, 300))
        pixels = np.bincount(np.asarray(ids).ravel(), minlength=4)
    assert summary["size"] == [2000, 300]
    for one in summary["classes"]:
        assert segmenter.classes[one["id"]] == one["name"]
        assert pixels[one["id"]] == one["pixels"]


def test_endpoint_asks_the_first_network_or_the_one_that_is_named(segmenter, photo, uploads):
    photo.save(uploads / "photo.png")
    given, other = {"path": str(uploads / "photo.png")}, by_color()
    segment = endpoint.build_endpoint({one.source: one for one in (segmenter, other)})
    assert segment(given)[2]["weights"] == segmenter.source
    assert segment(given, 0.6, 8, other.source)[2]["weights"] == other.source
    assert segment(given, 0.6, 8, None)[2]["weights"] == segmenter.source


@pytest.mark.parametrize(
    ("path", "others", "told"),
    [
        ("", (), "There is no photo"),
        ("broken.png", (), "is not a photo"),
        *(("photo.png", (0.6, stride), "must be 8, 16 or 32") for stride in (7, "16", [8])),
        *(("photo.png", (opacity,), "goes from 0 to 1") for opacity in (2, "x", [1], math.nan)),
        *(("photo.png", (0.6, 8, name), "must be tiny or other") for name in ("x", ["tiny"], 1)),
    ],
)
def test_endpoint_refuses_in_one_sentence(segmenter, photo, uploads, path, others, told):
    photo.save(uploads / "photo.png")
    (uploads / "broken.png").write_bytes(b"no photo")
    segment = endpoint.build_endpoint({"tiny": segmenter, "other": by_color()})
    with pytest.raises(endpoint.gr.Error) as caught:
        segment({"path": str(uploads / path) if path else None}, *others)
    assert told in caught.value.message and caught.value.message.endswith(".")
    assert not caught.value.print_exception  # or the host's log would fill with it
