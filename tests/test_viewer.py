"""The viewer's payload, and that nothing in it can turn into markup."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.demo import viewer
from fcn.demo.gallery import build_gallery
from fcn.palette import BACKGROUND, hex_code, safe_colors
from fcn.segmentation import Segmentation

LABELS = np.array([[0, 0, 0], [1, 2, 2]], np.uint8)
CONFIDENCE = np.array([[0.0, 0.5, 1.0], [0.25, 0.1, 0.999]], np.float32)


@pytest.fixture
def segmentation() -> Segmentation:
    palette = ((0, 0, 0), (200, 10, 20), (0, 90, 255))
    classes = (BACKGROUND, "cat", "${1+1} <b>dog</b>")
    return Segmentation(LABELS, CONFIDENCE, classes, palette, "here", 0.1)


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14)


def test_mask_holds_ids_before_confidences(segmentation, photo):
    payload = viewer.result(photo, segmentation)
    values = zlib.decompress(Path(payload["mask"]["path"]).read_bytes())
    assert values == np.concatenate([LABELS, np.rint(CONFIDENCE * 255)]).astype(np.uint8).tobytes()


def test_small_photo_travels_without_loss(segmentation, photo):
    sent = Image.open(viewer.result(photo, segmentation)["photo"]["path"])
    np.testing.assert_array_equal(np.asarray(sent), np.asarray(photo))


def test_photo_that_the_browser_has_does_not_travel(segmentation, photo):
    assert (
        viewer.result(photo, segmentation, file="/up/load.jpg")["photo"]["path"] == "/up/load.jpg"
    )


def test_large_photo_travels_compressed():
    photo = Image.linear_gradient("L").resize((1200, 900)).convert("RGB")
    labels, sure = np.zeros((900, 1200), np.uint8), np.ones((900, 1200), np.float32)
    found = Segmentation(labels, sure, (BACKGROUND,), ((0, 0, 0),), "here", 0.1)
    sent = viewer.result(photo, found)["photo"]["path"]
    assert Path(sent).stat().st_size < 100_000
    difference = np.abs(np.asarray(Image.open(sent), int) - np.asarray(photo, int))
    assert difference.max() <= 8


def test_background_comes_last_and_unpainted(segmentation, photo):
    classes = viewer.result(photo, segmentation)["classes"]
    assert [one["name"] for one in classes] == ["${1+1} <b>dog</b>", "cat", BACKGROUND]
    assert [one["painted"] for one in classes] == [True, True, False]
    assert classes[0]["color"] == "#005aff"
    safe = safe_colors(segmentation.classes)
    assert [one["safe"] for one in classes] == [hex_code(safe[i]) for i in (2, 1, 0)]
    assert sum(one["share"] for one in classes) == pytest.approx(1)


def test_the_same_twice_is_news_to_the_browser(segmentation, photo):
    first, second = (viewer.result(photo, segmentation) for _ in range(2))
    assert first["run"] != second["run"]
    assert viewer.failure("No photo.") != viewer.failure("No photo.")


def test_strides_are_told_as_layers_of_a_run(segmentation):
    payload = viewer.strides(7, {32: segmentation})
    assert (payload["state"], payload["run"], list(payload["strides"])) == ("strides", 7, ["32"])
    layer = payload["strides"]["32"]
    assert [one["id"] for one in layer["classes"]] == [2, 1, 0]
    assert len(zlib.decompress(Path(layer["mask"]["path"]).read_bytes())) == 2 * LABELS.size


def test_failure_has_one_sentence_and_nothing_to_draw():
    payload = viewer.failure("It is no photo.")
    assert (payload["state"], payload["message"]) == ("failed", "It is no photo.")
    assert not {"photo", "mask", "classes"} & set(payload)


def test_component_opens_with_urls(segmentation, photo):
    component = viewer.build_viewer(viewer.result(photo, segmentation))
    assert "/gradio_api/file=" in component.value["photo"]["url"]
    assert "/gradio_api/file=" in component.value["mask"]["url"]


def test_templates_interpolate_nothing():
    for component in (viewer.build_viewer(), build_gallery()):
        for template in (component.html_template, component.css_template):
            assert "${" not in template
            assert "{{" not in template
        for markup in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
            assert markup not in component.js_on_load
