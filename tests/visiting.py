"""A visitor of the page in a real Chromium, and what the canvas must then show.

In the network's place stands an engine that goes by colour, so that every class occurs, and one of
the classes has a name that is out to run as code. What is to be seen is computed here, from the
photo that was uploaded.
"""

import gc
import io
import os
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from fcn.demo.lesson import MAP_STRIDES, bilinear_kernel
from fcn.demo.page import build_page, launch_options
from fcn.inference.fusion import KERNELS
from fcn.palette import BACKGROUND, Color, safe_colors
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter

HOSTILE = "<img src=x onerror=alert(1)> ${1+1}"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    # A camera that every machine has, and that nobody has to allow.
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
WAIT = 60_000  # milliseconds; machines that run tests may be busy with something else
FADED = 0.2
expect.set_options(timeout=WAIT)
SIZES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


class ByColor:
    """An engine that scores how near a pixel is to a class's colour, coarser at larger strides."""

    name = "color"
    config: ClassVar[dict[str, Any]] = {
        "classes": [BACKGROUND, HOSTILE, "square", "triangle"],
        "palette": [[0, 0, 0], [230, 60, 0], [0, 160, 90], [60, 90, 250]],
        "stride": 8,
        "inference_size": 96,
        "temperature": 1.0,
        "doubt_below": 0.0,
        **{"backbone": "vgg16", "head": "compact", "width": 8, "mean": [0.5] * 3, "std": [1] * 3},
    }

    def scores(self, image: np.ndarray, strides: Sequence[int]) -> dict[int, np.ndarray]:
        return {stride: self.score(image, stride) for stride in strides}

    def score(self, image: np.ndarray, stride: int) -> np.ndarray:
        height, width = image.shape[:2]
        if stride > 8:
            step = stride // 2
            image = np.repeat(np.repeat(image[::step, ::step], step, 0), step, 1)[:height, :width]
        colors = np.array(self.config["palette"], np.float32)[:, None, None]  # (C, 1, 1, 3)
        return -((image - colors) ** 2).sum(-1) / 5000

    def maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        scores = self.score(image, 8)
        return {name: scores[:, ::step, ::step] for name, step in MAP_STRIDES.items()}

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        count = len(self.config["classes"])
        return {name: np.stack([bilinear_kernel(k)[None]] * count) for name, k in KERNELS.items()}


@dataclass
class Served:
    url: str
    segmenter: Segmenter


def by_color() -> Segmenter:
    """A network with that engine."""
    metrics = {"mean_iou": 0.125, "dataset": "shapes", "split": "val"}
    return Segmenter(ByColor(), "checkpoints/colors", metrics)


def serve(*segmenters: Segmenter) -> Iterator[Served]:
    """Serve the page for a while; it begins with the first of the networks."""
    page = build_page(segmenters, "A note about them.")
    _, url, _ = page.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    yield Served(url, segmenters[0])
    page.close(verbose=False)


def find_chromium() -> str:
    """Where Chromium is; without it the page is not tested, which in CI it has to be."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None and "CI" not in os.environ:
        pytest.skip("there is no chromium (set CHROMIUM to its path)")
    assert path is not None, "the page must be tested, and there is no chromium"
    return path


def browse() -> Iterator[Browser]:
    """Run a Chromium for a while."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        # A loader's process that a test's traceback still holds would keep open the pipe whose end
        # tells the driver to end, and be waited for without end.
        gc.collect()
        browser.close()


class Visitor:
    """A fresh visit of the page: what happened on it, and what is to be seen."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        page.on("console", self._listen)
        page.goto(url)
        self.figure = page.locator("#viewer figure")
        self.gallery = page.locator("#several section")
        self.status = self.figure.locator(".fcn-status")
        self.expect_state("done")

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def leave(self) -> None:
        """Close the page, and complain about errors and requests to elsewhere."""
        self.page.close()
        assert self.errors == []
        here = (self.url, "data:", "blob:")
        assert [url for url in self.requests if not url.startswith(here)] == []

    def asked(self) -> list[str]:
        """Requests to the server, but for Gradio's signs of life."""
        return [url for url in self.requests if "heartbeat" not in url and "blob:" not in url]

    def expect_state(self, state: str) -> None:
        expect(self.figure).to_have_attribute("data-state", state, timeout=WAIT)

    def choose_network(self, name: str) -> None:
        """Choose another network, and wait for what it finds in the photo."""
        self.figure.evaluate("figure => figure.dataset.state = 'before'")
        self.page.get_by_role("radio", name=name, exact=True).check()
        self.expect_state("done")

    def upload(self, photo: Image.Image, state: str = "done", name: str = "photo.png") -> None:
        self.upload_bytes(name, png(photo), state)

    def upload_bytes(self, name: str, content: bytes, state: str, kind: str = "image/png") -> None:
        # A mark that the next state takes away again, as the present one may have the same name.
        self.figure.evaluate("figure => figure.dataset.state = 'before'")
        self.page.locator("#photo input[type=file]").set_input_files([file(name, content, kind)])
        self.expect_state(state)

    def control(self, label: str) -> Locator:
        return self.figure.get_by_label(label, exact=True)

    def choose(self, group: str, option: str) -> None:
        """Choose in a group of radio buttons, whose words lie over them."""
        radios = self.figure.get_by_role("radiogroup", name=group)
        radios.get_by_role("radio", name=option).check(force=True)

    @property
    def canvas(self) -> Locator:
        return self.figure.locator("canvas")

    def pixels(self) -> np.ndarray:
        """What the canvas shows, (H, W, 3)."""
        url = self.canvas.evaluate("canvas => canvas.toDataURL()")
        image = Image.open(io.BytesIO(b64decode(url.split(",")[1])))
        assert image.getextrema()[3] == (255, 255), "a transparent canvas has no exact colours"
        return np.asarray(image.convert("RGB"))

    def expect_pixels(self, expected: np.ndarray) -> None:
        np.testing.assert_array_equal(self.pixels(), expected)

    def download(self, name: str) -> tuple[str, bytes]:
        """Click a button of a name; the name and content of the file that it gives."""
        with self.page.expect_download() as told:
            self.figure.get_by_role("button", name=name).click()
        return told.value.suggested_filename, told.value.path().read_bytes()


def visits(browser: Browser, served: Served) -> Iterator[Callable[..., Visitor]]:
    """A function that starts a visit; visits end with the test."""
    visitors: list[Visitor] = []
    contexts: dict[tuple[int, str, bool], BrowserContext] = {}

    def start(width: int = 1280, scheme: str = "light", touch: bool = False) -> Visitor:
        key = (width, scheme, touch)
        if key not in contexts:
            contexts[key] = browser.new_context(
                viewport={"width": width, "height": 844},
                # Playwright types it as one of a few words, which pytest's parameters are not.
                color_scheme=scheme,  # type: ignore[arg-type]
                has_touch=touch,
            )
        visitors.append(Visitor(contexts[key].new_page(), served.url))
        return visitors[-1]

    yield start
    try:
        for visitor in visitors:
            visitor.leave()
    finally:
        for context in contexts.values():
            context.close()


def png(photo: Image.Image) -> bytes:
    written = io.BytesIO()
    photo.save(written, "PNG")
    return written.getvalue()


def file(name: str, content: bytes, kind: str = "image/png") -> dict[str, Any]:
    """A file as Playwright gives it to an input."""
    return {"name": name, "mimeType": kind, "buffer": content}


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A photo of large soft patches near the classes' colours, which travels without loss."""
    random = np.random.default_rng(seed)
    patches = np.array(ByColor.config["palette"], np.uint8)[random.permutation(20) % 4]
    patches = (patches // 2 + random.integers(0, 100, (20, 3), np.uint8)).reshape(4, 5, 3)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def page_colors(found: Segmentation) -> list[Color]:
    """The colours that the page starts with."""
    return safe_colors(found.classes) or list(found.palette)


def painted(found: Segmentation, opacity: float) -> dict[str, float]:
    """What the page starts with: all classes but the background."""
    return {name: opacity for name in found.classes if name != BACKGROUND}


def sure(found: Segmentation) -> np.ndarray:
    """Confidences in 255ths, as they travel."""
    return np.rint(found.confidence * 255).astype(int)


def blend(
    photo: Image.Image | np.ndarray,
    found: Segmentation,
    alphas: dict[str, float],
    threshold: float = 0,
    colors: list[Color] | None = None,
) -> np.ndarray:
    """The formula: (1 - a) * photo + a * colour, rounded; a is less where the network is unsure."""
    alpha = np.array([alphas.get(name, 0.0) for name in found.classes])[found.labels]
    alpha = np.where(sure(found) < round(255 * threshold), alpha * FADED, alpha)[..., None]
    ink = np.array(colors or page_colors(found), float)[found.labels]
    return np.rint((1 - alpha) * np.asarray(photo, float) + alpha * ink).astype(np.uint8)


def names(found: Segmentation) -> list[str]:
    """Classes in the order of the legend."""
    return sorted((one.name for one in found.found()), key=lambda name: name == BACKGROUND)
