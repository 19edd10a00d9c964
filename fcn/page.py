"""The page: a photo goes in at the left, the live overlay shows it in segments at the right.

The convention: one run per photo. Whatever way a photo came (file, drag, clipboard, webcam,
example), the input fires ``change``, at times twice; the viewer is told, and asks for one run.
Programs use ``/segment`` instead, which gives files at the photo's own size.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from . import viewer
from .answer import LONGEST_SIDE, listed, segment_for_page
from .endpoint import add_endpoint
from .errors import InputError
from .examples import build_examples, find_examples
from .gallery import build_gallery, segment_all
from .learn import build_learn_tab
from .palette import BACKGROUND
from .photo import open_photo
from .photo_input import Given, PhotoInput, sent
from .segmenter import STRIDES, Segmenter

TITLE = "Segment a photo"
HEAD = f'<div class="title"><h1>{TITLE}</h1><a href="#photo">Your photo</a></div>'
# One photo is on the network at a time, from the page or from a program.
NETWORK: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

# What only the page knows is told to the viewer, whose own script then asks and shows.
TELL_PHOTO = """(photo) => {
  const detail = { detail: photo };
  document.querySelector('#viewer figure').dispatchEvent(new CustomEvent('fcn-photo', detail));
}"""
TELL_FAILURE = """() => {
  document.querySelector('#viewer figure').dispatchEvent(new CustomEvent('fcn-failed'));
}"""
TELL_GALLERY_FAILURE = """() => {
  document.querySelector('#several section').dispatchEvent(new CustomEvent('several-failed'));
}"""
# Gradio pastes at the click of a button; this does at Ctrl+V.
PASTE = """() => document.addEventListener('paste', ({ clipboardData }) => {
  const input = document.querySelector('#photo input[type=file]');
  if (!input || clipboardData.files.length !== 1) return; // gallery.js takes several
  input.files = clipboardData.files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
})"""


def build_page(segmenter: Segmenter, note: str = "") -> gr.Blocks:
    """Build the page and its API around a network.

    The first photo is segmented here: it warms the network up, and the page opens with it.

    Args:
        segmenter: The network.
        note: What is to be said about its weights, besides their name.

    Raises:
        InputError: If the network cannot segment anything, as its weights are damaged.
    """
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True
    ) as page:
        gr.HTML(HEAD, elem_id="head", apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Segment"):
                photo = _add_segmenting(segmenter, note, page)
            build_learn_tab(lambda: segmenter, photo, **NETWORK)
        add_endpoint(segmenter, **NETWORK)
    page.queue(max_size=32)
    return page


def _add_segmenting(segmenter: Segmenter, note: str, page: gr.Blocks) -> gr.Image:
    """Add what a photo goes into, which is returned, the viewer, and the events between them."""
    examples = find_examples(segmenter.classes)
    first = examples[0].file if examples else None
    opening = None
    if first:
        image = open_photo(first, longest=LONGEST_SIDE)
        opening = segment_for_page(segmenter, image, first.stem)
    with gr.Row(elem_id="page"):
        with gr.Column(scale=1, min_width=240, elem_id="intake"):
            gr.HTML(about(segmenter, note), elem_id="about", apply_default_css=False)
            photo = PhotoInput(
                sources=["upload", "clipboard", "webcam"],
                label="Photo",
                show_label=False,
                height=200,
                buttons=[],
                elem_id="photo",
            )
            if examples:
                build_examples(examples, photo)
            several = build_gallery()
        with gr.Column(scale=4, min_width=320, elem_id="result"):
            shown = viewer.build_viewer(opening)
    photo.change(None, photo, None, js=TELL_PHOTO)
    run = shown.segment(
        lambda given: _answer(segmenter, given),
        photo,
        [shown, photo],
        trigger_mode="always_last",
        **QUIET,
        **NETWORK,
    )
    strides = shown.strides(
        lambda value: _answer_strides(segmenter, value), shown, shown, **QUIET, **NETWORK
    )
    for event in (run, strides):
        event.failure(None, js=TELL_FAILURE)
    shown.cancel(None, cancels=[run])
    shown.forget(lambda: None, None, photo, queue=False, **QUIET)
    _add_gallery(segmenter, several)
    page.load(None, js=PASTE)
    return photo


def _add_gallery(segmenter: Segmenter, several: gr.HTML) -> None:
    def segment_several(given: Any) -> Iterator[dict[str, Any]]:
        yield from segment_all(segmenter, given)  # Gradio sees that it is a generator

    run = several.segment(segment_several, several, several, **QUIET, **NETWORK)
    run.failure(None, js=TELL_GALLERY_FAILURE)
    several.cancel(None, cancels=[run])


class CompressedPage(GZipMiddleware):
    """Compresses the page itself, which Gradio does for files of some endings only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_page = scope["type"] == "http" and scope["path"] in ("", "/")
        await (super().__call__ if is_page else self.app)(scope, receive, send)


def launch_options() -> dict[str, Any]:
    """What the page needs from ``launch``; all else is left to Gradio's environment variables."""
    theme = gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")
    return {
        "theme": theme,
        "app_kwargs": {"middleware": [Middleware(CompressedPage)]},
        "css_paths": viewer.WEB / "page.css",
        "footer_links": ["api", "settings"],
        "max_file_size": "20mb",
        "run_history": False,
        "ssr_mode": False,
    }


def about(segmenter: Segmenter, note: str = "") -> str:
    """Say in HTML what the network finds, and which weights it has; all text is escaped."""
    names = [name for name in segmenter.classes if name != BACKGROUND]
    lines = [f"<p>Finds {escape(listed(names, 12))}.</p>"]
    lines.append(f'<p class="quiet">{escape(weights_line(segmenter))}</p>')
    if note:
        lines.append(f'<p class="quiet">{escape(note)}</p>')
    return "".join(lines)


def weights_line(segmenter: Segmenter) -> str:
    """Say which weights are in use and how good they are."""
    line = f"Weights: {Path(segmenter.source).name}"
    metrics = segmenter.metrics
    if isinstance(metrics.get("mean_iou"), float):
        where = f"{metrics.get('dataset', '?')} {metrics.get('split', '')}".strip()
        line += f", {100 * metrics['mean_iou']:.1f} % mIoU on {where}"
    return line


def _answer(segmenter: Segmenter, given: Given) -> tuple[Any, Any]:
    """New values for the viewer and the photo input, which lets go of what cannot be used."""
    try:
        image = given.open(LONGEST_SIDE)
        payload, photo = segment_for_page(segmenter, image, given.stem), gr.skip()
    except InputError as error:
        payload, photo = viewer.failure(str(error)), None
    return {**payload, "of": given.path}, photo


def _answer_strides(segmenter: Segmenter, value: Any) -> dict[str, Any]:
    """What the viewer does not show yet of the photo that a browser says it shows."""
    try:
        photo = sent("The photo", value["photo"]["path"]).open()
        others = [stride for stride in STRIDES if stride != segmenter.stride]
        return viewer.strides(value["run"], segmenter.at_strides(photo, others))
    except (InputError, LookupError, TypeError) as error:
        raise gr.Error(str(error), print_exception=False) from error
