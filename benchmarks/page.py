"""How fast the page is, in headless Chromium: ``python benchmarks/page.py``.

Four questions: how long a slider takes to repaint a photo of 1024x768, how long the pointer takes
to name what is under it, how much longer an upload takes than its segmentation, and how many bytes
the page has beside Gradio's own. The convention: a slider's time goes from its event to the end of
the frame that shows it, the event coming at the start of a frame, where browsers put those of a
drag; an upload's goes from the choice of the file to the painted overlay.
"""

import argparse
import io
import os
import shutil
import statistics
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from measuring import report
from PIL import Image
from playwright.sync_api import Page, Request, sync_playwright

from fcn.demo.page import build_page, launch_options
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = (1024, 768)

SLIDE = """async (times) => {
  const slider = document.querySelector('.fcn-overlay'), taken = [];
  for (let i = 0; i < times; i++) {
    taken.push(await new Promise((resolve) => requestAnimationFrame(() => {
      const started = performance.now(), { port1, port2 } = new MessageChannel();
      port1.onmessage = () => resolve(performance.now() - started);
      slider.value = (i % 100) / 100;
      slider.dispatchEvent(new Event('input'));
      port2.postMessage(0);
    })));
  }
  return taken;
}"""
HOVER = """(times) => {
  const canvas = document.querySelector('#viewer canvas'), taken = [];
  const { left, top, width, height } = canvas.getBoundingClientRect();
  for (let i = 0; i < times; i++) {
    const clientX = left + (width * ((i * 37) % 97)) / 97;
    const clientY = top + (height * ((i * 17) % 89)) / 89, started = performance.now();
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY }));
    taken.push(performance.now() - started);
  }
  return taken;
}"""
UPLOAD = """async ([name, content]) => {
  const input = document.querySelector('#photo input[type=file]'), given = new DataTransfer();
  const figure = document.querySelector('#viewer figure');
  const blob = await (await fetch(`data:image/jpeg;base64,${content}`)).blob();
  given.items.add(new File([blob], name, { type: 'image/jpeg' }));
  return new Promise((resolve) => {
    const started = performance.now();
    new MutationObserver(() => {
      if (figure.dataset.state === 'done') resolve(performance.now() - started);
    }).observe(figure, { attributeFilter: ['data-state'] });
    input.files = given.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  });
}"""


class Timed(Segmenter):
    """A segmenter that remembers how long it took."""

    seconds = 0.0

    def __call__(self, photo: Image.Image, stride: int | None = None) -> Segmentation:
        """Segment."""
        found = super().__call__(photo, stride)
        self.seconds = found.seconds
        return found


@contextmanager
def opened(blocks: gr.Blocks) -> Iterator[tuple[Page, int]]:
    """Open a page in a fresh Chromium; also the bytes that came, but for photos."""
    _, url, _ = blocks.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    finished: list[Request] = []
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 844})
        page.set_default_timeout(120_000)
        page.on("requestfinished", lambda request: finished.append(request))
        page.goto(url)
        page.wait_for_selector("footer", state="attached")  # hidden where there is no viewer
        page.wait_for_timeout(3000)  # until all is there
        texts = [one for one in finished if "/file=" not in one.url]
        yield page, sum(one.sizes()["responseBodySize"] for one in texts)
        browser.close()
    blocks.close(verbose=False)


def build_bare() -> gr.Blocks:
    """A page of the same components as ours, with nothing in them."""
    with gr.Blocks(analytics_enabled=False) as page, gr.Tab("Segment"), gr.Row(), gr.Column():
        photo = gr.Image()
        for _ in range(8):
            gr.HTML("")
        gr.Button().click(print, [photo, gr.Number(), gr.Dropdown()], [gr.File(), gr.JSON()])
    return page


def draw_photo(seed: int) -> bytes:
    """A JPEG of soft noise, another one for each seed."""
    noise = Image.effect_noise((SIZE[0] // 16, SIZE[1] // 16), 60 + seed).convert("RGB")
    written = io.BytesIO()
    noise.resize(SIZE, Image.Resampling.BICUBIC).save(written, "JPEG")
    return written.getvalue()


def upload(page: Page, timed: Timed, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds from uploads to their overlays, and those of the segmentations themselves."""
    whole, alone = [], []
    for turn in range(times + 1):
        content = b64encode(draw_photo(turn)).decode()
        taken = page.evaluate(UPLOAD, [f"{turn}.jpg", content])
        if turn:  # the first one warms up
            whole.append(taken)
            alone.append(1000 * timed.seconds)
    return whole, alone


def row(name: str, unit: str, values: list[float], wanted: str) -> dict[str, Any]:
    """The middle of some values, and what 95 of 100 stay under."""
    top = statistics.quantiles(values, n=20, method="inclusive")[-1]
    return {"what": name, "unit": unit, "p50": statistics.median(values), "p95": top} | {
        "wanted": wanted
    }


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Answer the four questions."""
    with opened(build_bare()) as (_, gradio_bytes):
        pass
    timed = Timed.load(args.model, args.engine)
    with opened(build_page([timed])) as (page, bytes_):
        whole, alone = upload(page, timed, args.uploads)
        slid, hovered = (page.evaluate(one, args.repeats + 10)[10:] for one in (SLIDE, HOVER))
    times = [a / b for a, b in zip(whole, alone, strict=True)]
    extra = (bytes_ - gradio_bytes) / 1000
    return [
        row("slider to repaint", "ms", slid, "p95 < 20"),
        row("pointer to words", "ms", hovered, "p95 < 5"),
        row("segmentation", "ms", alone, ""),
        row("upload to overlay", "ms", whole, ""),
        row("upload to overlay / segmentation", "", times, "< 1.2"),
        row("page beyond Gradio's own", "kB", [extra, extra], "< 60"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="checkpoints/street", help="checkpoint to serve")
    parser.add_argument("--engine", default="auto", help="what runs it")
    parser.add_argument("--repeats", type=int, default=100, help="of sliding and of hovering")
    parser.add_argument("--uploads", type=int, default=5, help="photos to upload")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    report(measure(args), args.json, photo=f"{SIZE[0]}x{SIZE[1]}", checkpoint=args.model)


if __name__ == "__main__":
    main()
