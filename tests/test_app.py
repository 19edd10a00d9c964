"""The demo end to end: a real server, a real Chromium, and a program that uses the API.

In the network's place stands an engine that goes by colour, so that every class occurs, and one of
the classes has a name that is out to run as code. What the canvas must show is computed here, from
the photo that was uploaded.
"""

import io
import os
import re
import shutil
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

import app
from fcn.errors import InputError
from fcn.page import DOUBT, build_page, launch_options
from fcn.segmentation import BACKGROUND, Segmentation
from fcn.segmenter import Segmenter

HOSTILE = "<img src=x onerror=alert(1)> ${1+1}"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass
class Served:
    url: str
    segmenter: Segmenter


class ByColor:
    """An engine that scores how near a pixel is to a class's colour."""

    name = "color"
    config: ClassVar[dict[str, Any]] = {
        "classes": [BACKGROUND, HOSTILE, "square", "triangle"],
        "palette": [[0, 0, 0], [230, 60, 0], [0, 160, 90], [60, 90, 250]],
        "stride": 8,
        "inference_size": 96,
        "temperature": 1.0,
        "doubt_below": 0.0,
    }

    def scores(self, image: np.ndarray, stride: int | None) -> np.ndarray:
        colors = np.array(self.config["palette"], np.float32)[:, None, None]  # (C, 1, 1, 3)
        return -((image - colors) ** 2).sum(-1) / 5000


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    metrics = {"mean_iou": 0.125, "dataset": "shapes", "split": "val"}
    segmenter = Segmenter(ByColor(), "checkpoints/colors", metrics)
    page = build_page(segmenter)
    _, url, _ = page.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    yield Served(url, segmenter)
    page.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None and "CI" not in os.environ:
        pytest.skip("there is no chromium (set CHROMIUM to its path)")
    assert path is not None, "the page must be tested, and there is no chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A fresh visit of the page: what happened on it, and what is to be seen."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        page.on("console", self._listen)
        page.goto(url)
        self.figure = page.locator("#viewer figure")
        self.status = self.figure.locator(".fcn-status")
        self.expect_state("done")

    def _listen(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def expect_state(self, state: str) -> None:
        expect(self.figure).to_have_attribute("data-state", state, timeout=30_000)

    def upload(self, photo: Image.Image, state: str = "done") -> None:
        file = io.BytesIO()
        photo.save(file, "PNG")
        self.upload_bytes("photo.png", file.getvalue(), state)

    def upload_bytes(self, name: str, content: bytes, state: str) -> None:
        # A mark that the next state takes away again, as the present one may have the same name.
        self.figure.evaluate("figure => figure.dataset.state = 'before'")
        files = [{"name": name, "mimeType": "image/png", "buffer": content}]
        self.page.locator("#photo input[type=file]").set_input_files(files)
        self.expect_state(state)

    def control(self, label: str) -> Locator:
        return self.figure.get_by_label(label, exact=True)

    def pixels(self) -> np.ndarray:
        """What the canvas shows, (H, W, 3)."""
        url = self.figure.locator("canvas").evaluate("canvas => canvas.toDataURL()")
        image = Image.open(io.BytesIO(b64decode(url.split(",")[1])))
        assert image.getextrema()[3] == (255, 255), "a transparent canvas has no exact colours"
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def visit(chromium, served) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def start(width: int = 1280, scheme: str = "light") -> Visitor:
        size = {"width": width, "height": 844}
        page = chromium.new_page(viewport=size, color_scheme=scheme)
        visitors.append(Visitor(page, served.url))
        return visitors[-1]

    yield start
    for visitor in visitors:
        visitor.page.close()
        assert visitor.errors == []
        outside = [
            url for url in visitor.requests if not url.startswith((served.url, "data:", "blob:"))
        ]
        assert outside == []


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A photo of large soft patches near the classes' colours, which travels without loss."""
    random = np.random.default_rng(seed)
    patches = np.array(ByColor.config["palette"], np.uint8)[random.permutation(20) % 4]
    patches = (patches // 2 + random.integers(0, 100, (20, 3), np.uint8)).reshape(4, 5, 3)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def blend(photo: Image.Image, found: Segmentation, alphas: dict[str, float]) -> np.ndarray:
    """The formula: (1 - a) * photo + a * colour, rounded."""
    alpha = np.array([alphas.get(name, 0.0) for name in found.classes])[found.labels][..., None]
    color = np.array(found.palette, float)[found.labels]
    return np.rint((1 - alpha) * np.asarray(photo, float) + alpha * color).astype(np.uint8)


def painted(found: Segmentation, opacity: float) -> dict[str, float]:
    return {name: opacity for name in found.classes if name != BACKGROUND}


def names(found: Segmentation) -> list[str]:
    """Classes in the order of the legend."""
    return sorted((one.name for one in found.found()), key=lambda name: name == BACKGROUND)


def test_page_opens_segmented(visit):
    visitor = visit()
    expect(visitor.status).to_contain_text("Found")
    expect(visitor.page.get_by_text("Weights: colors, 12.5 % mIoU on shapes val")).to_be_visible()
    before = visitor.pixels()
    visitor.control("Overlay opacity").fill("0")
    assert (visitor.pixels() != before).any()
    assert not any("/queue/join" in url for url in visitor.requests)


def test_upload_is_segmented_and_blended_exactly(visit, served):
    visitor, photo = visit(), scene(1)
    found = served.segmenter(photo)
    visitor.upload(photo)
    assert sum("/queue/join" in url for url in visitor.requests) == 1
    rows = visitor.figure.locator("li .fcn-name").all_text_contents()
    assert rows == names(found)
    assert len(rows) == 4
    np.testing.assert_array_equal(visitor.pixels(), blend(photo, found, painted(found, 0.6)))
    label = visitor.figure.get_by_role("img").get_attribute("aria-label")
    assert all(name in label for name in names(found))


def test_sliders_repaint_by_the_formula_without_a_request(visit, served):
    visitor, photo = visit(), scene(2)
    found = served.segmenter(photo)
    visitor.upload(photo)
    alphas = painted(found, 0.35)
    one, other = "triangle", HOSTILE
    visitor.requests.clear()
    visitor.control("Overlay opacity").fill("0.35")
    np.testing.assert_array_equal(visitor.pixels(), blend(photo, found, alphas))
    slider = visitor.control(f"{one} opacity")
    slider.fill("0.5")
    slider.press("ArrowLeft")
    alphas[one] = 0.35 * 0.49
    np.testing.assert_array_equal(visitor.pixels(), blend(photo, found, alphas))
    visitor.control(f"Show {other}").uncheck()
    alphas[other] = 0
    np.testing.assert_array_equal(visitor.pixels(), blend(photo, found, alphas))
    assert not [url for url in visitor.requests if "heartbeat" not in url]


def test_all_and_none(visit, served):
    visitor, photo = visit(), scene(3)
    found = served.segmenter(photo)
    visitor.upload(photo)
    expect(visitor.control(f"Show {BACKGROUND}")).not_to_be_checked()
    visitor.figure.get_by_role("button", name="none").click()
    np.testing.assert_array_equal(visitor.pixels(), np.asarray(photo))
    visitor.figure.get_by_role("button", name="all").click()
    every = dict.fromkeys(found.classes, 0.6)
    np.testing.assert_array_equal(visitor.pixels(), blend(photo, found, every))
    expect(visitor.control(f"Show {BACKGROUND}")).to_be_checked()


def test_choices_survive_the_next_photo(visit, served):
    visitor, first, second = visit(), scene(4), scene(5, (120, 150))
    visitor.upload(first)
    found = served.segmenter(second)
    one, other = "square", HOSTILE
    visitor.control("Overlay opacity").fill("0.8")
    visitor.control(f"{one} opacity").fill("0.25")
    visitor.control(f"Show {other}").uncheck()
    visitor.upload(second)
    expect(visitor.control(f"{one} opacity")).to_have_value("0.25")
    alphas = {**painted(found, 0.8), one: 0.8 * 0.25, other: 0}
    np.testing.assert_array_equal(visitor.pixels(), blend(second, found, alphas))


def test_while_the_network_runs_the_new_photo_stands_alone(visit, monkeypatch):
    visitor, photo, go = visit(), scene(6), threading.Event()
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(30) and segment(*given))
    visitor.upload(photo, "busy")
    expect(visitor.figure.get_by_role("progressbar")).to_be_visible()
    expect(visitor.figure.get_by_role("img")).to_have_attribute(
        "aria-label", "The photo, not segmented"
    )
    np.testing.assert_array_equal(visitor.pixels(), np.asarray(photo))
    expect(visitor.figure.locator("li")).to_have_count(0)
    go.set()
    visitor.expect_state("done")
    expect(visitor.figure.get_by_role("progressbar")).to_be_hidden()


def test_bad_file_leaves_one_sentence_and_no_overlay(visit):
    visitor = visit()
    visitor.upload_bytes("broken.png", b"not a photo at all", "failed")
    expect(visitor.status).to_contain_text("broken.png is not a photo")
    expect(visitor.figure.locator("canvas")).to_be_hidden()
    expect(visitor.figure.locator("li")).to_have_count(0)
    visitor.errors.clear()  # the browser's own preview could not read it either
    visitor.upload(scene(7))
    expect(visitor.status).to_contain_text("Found")


def test_crash_leaves_one_sentence_and_no_overlay(visit, monkeypatch):
    visitor = visit()

    def crash(*given: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Segmenter, "__call__", crash)
    visitor.upload(scene(8), "failed")
    expect(visitor.status).to_have_text("The photo could not be segmented. Please try again.")
    expect(visitor.figure.locator("canvas")).to_be_hidden()


def test_example_and_clearing(visit):
    visitor = visit()
    visitor.page.get_by_role("button", name="Example: Cheetah").click()
    expect(visitor.figure.locator("canvas")).to_have_js_property("width", 256)
    visitor.expect_state("done")
    assert sum("/queue/join" in url for url in visitor.requests) == 1
    visitor.page.locator("#photo").get_by_label(re.compile("Clear|Remove")).click()
    visitor.expect_state("empty")
    expect(visitor.figure.locator("li")).to_have_count(0)


def test_nothing_but_background_is_told_in_words(visit, monkeypatch):
    visitor, photo = visit(), scene(9)
    ids, sure = np.zeros((120, 160), np.uint8), np.full((120, 160), 0.9, np.float32)
    classes, palette = (BACKGROUND, "cat"), ((0, 0, 0), (255, 0, 0))
    nothing = Segmentation(ids, sure, classes, palette, "here", 0.1)
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: nothing)
    visitor.upload(photo)
    expect(visitor.status).to_have_text("No cat found. Try one of the examples.")
    np.testing.assert_array_equal(visitor.pixels(), np.asarray(photo))


def test_doubtful_photo_starts_faint_and_the_next_does_not(visit, served, monkeypatch):
    visitor = visit()
    with monkeypatch.context() as doubtful:
        doubtful.setattr(served.segmenter, "doubt_below", 1.1)
        visitor.upload(scene(13))
        expect(visitor.figure.locator(".fcn-caution")).to_have_text(DOUBT)
        expect(visitor.control("Overlay opacity")).to_have_value("0.25")
    visitor.upload(scene(14))
    expect(visitor.figure.locator(".fcn-caution")).to_be_empty()
    expect(visitor.control("Overlay opacity")).to_have_value("0.6")


def test_photo_is_pasted(visit):
    visitor = visit()
    visitor.page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(90, 60);
        canvas.getContext('2d').fillRect(0, 0, 50, 50);
        const clipboardData = new DataTransfer();
        const blob = await canvas.convertToBlob();
        clipboardData.items.add(new File([blob], 'pasted.png', { type: 'image/png' }));
        document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));
    }""")
    expect(visitor.figure.locator("canvas")).to_have_js_property("width", 90)
    visitor.expect_state("done")


def test_class_names_are_shown_and_not_run(visit):
    visitor = visit()
    expect(visitor.page.locator("#about")).to_contain_text(HOSTILE)
    visitor.upload(scene(10))
    expect(visitor.figure.locator("li", has_text=HOSTILE)).to_be_visible()
    expect(visitor.page.locator("#viewer img, #about img")).to_have_count(0)


def test_pointer_tells_class_and_confidence(visit, served):
    visitor, photo = visit(), Image.new("RGB", (160, 120), (120, 60, 120))
    (found,) = served.segmenter(photo).found()
    visitor.upload(photo)
    visitor.figure.locator("canvas").hover()
    expected = f"{found.name} · {100 * found.confidence:.0f} % sure"
    expect(visitor.figure.locator(".fcn-tip")).to_have_text(expected)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_the_canvas_first_and_fits(visit, scheme):
    visitor = visit(390, scheme)
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    canvas = visitor.figure.locator("canvas").bounding_box()
    photo = visitor.page.locator("#photo").bounding_box()
    assert canvas["y"] + canvas["height"] < photo["y"]
    for box in visitor.page.locator("#viewer input").all():
        place = box.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= 390


@pytest.fixture(scope="module")
def client(served) -> Client:
    return Client(served.url, verbose=False)


def test_api_answers_at_the_photos_size(served, client, tmp_path):
    file = tmp_path / "photo.png"
    photo = scene(12, (1800, 300))
    photo.save(file)
    labels, overlay, summary = client.predict(handle_file(file), api_name="/segment")
    with Image.open(labels) as ids, Image.open(overlay) as shown:
        assert (ids.mode, ids.size, shown.size) == ("P", photo.size, photo.size)
        np.testing.assert_array_equal(np.asarray(ids), served.segmenter(photo).labels)
    assert sum(one["share"] for one in summary["classes"]) == pytest.approx(1)
    assert summary["size"] == [1800, 300]


def test_api_refuses_a_bad_file_in_one_sentence(client, tmp_path):
    file = tmp_path / "broken.jpg"
    file.write_bytes(b"not a photo at all")
    with pytest.raises(AppError, match="broken.jpg is not a photo"):
        client.predict(handle_file(file), 0.6, 8, api_name="/segment")


def test_api_has_one_documented_endpoint(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/segment"]
    parameters = endpoints["/segment"]["parameters"]
    assert [one["parameter_name"] for one in parameters] == ["photo", "opacity", "stride"]
    assert [one["parameter_has_default"] for one in parameters] == [False, True, True]


def test_gradio_reads_its_environment_variables_itself(tiny_checkpoint, monkeypatch):
    given: dict[str, object] = {}
    monkeypatch.setattr("gradio.Blocks.launch", lambda self, **options: given.update(options))
    assert app.main(["--model", str(tiny_checkpoint)]) == 0
    assert not {"server_port", "server_name", "root_path", "share"} & set(given)


def test_missing_weights_end_in_one_sentence(capsys):
    assert app.main(["--model", "no/such/folder"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_model_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("FCN_MODEL", "runs/mine")
    assert app.parse([]).model == "runs/mine"
    assert app.parse(["--model", "other"]).model == "other"


def test_bundled_weights(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(app, "BUNDLED", tmp_path)
    with pytest.raises(InputError, match="--model"):
        app.bundled()
    for name in ("another", "street", "animals"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
        assert app.bundled().name == name
