"""The page: a photo goes in at the left, the live overlay shows it in segments at the right.

The convention: one run per photo. Whatever way a photo came (file, drag, clipboard, webcam,
example), the component fires ``change`` exactly once, and nothing else is listened to. Programs
use ``/segment`` instead, which gives files at the photo's own size.
"""

from abc import ABCMeta
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from . import viewer
from .errors import InputError
from .examples import build_examples, find_examples
from .photo import PhotoError, open_photo
from .segmentation import BACKGROUND, Segmentation
from .segmenter import Segmenter

TITLE = "Segment a photo"
HEAD = f'<div class="title"><h1>{TITLE}</h1><a href="#photo">Your photo</a></div>'
LONGEST_SIDE = 1600  # pixels of a photo on the page; viewer.js has it too
LEAST_SHARE = 0.01  # of the photo, for a class to be worth naming
DOUBTFUL_OPACITY = 0.25
DOUBT = "This photo looks unlike those the network was trained on: take the colours with caution."
# One photo is on the network at a time, from the page or from a program.
NETWORK: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}

# What only the page knows is told to the viewer, whose own script then shows it.
TELL_PHOTO = """(photo) => {
  const detail = { detail: photo };
  document.querySelector('#viewer figure').dispatchEvent(new CustomEvent('fcn-photo', detail));
  return photo;
}"""
TELL_FAILURE = """() => {
  document.querySelector('#viewer figure').dispatchEvent(new CustomEvent('fcn-failed'));
}"""
# Gradio pastes at the click of a button; this does at Ctrl+V.
PASTE = """() => document.addEventListener('paste', ({ clipboardData }) => {
  const input = document.querySelector('#photo input[type=file]');
  if (!input || !clipboardData.files.length) return;
  input.files = clipboardData.files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
})"""


def _open_upload(self: gr.Image, payload: ImageData | None) -> Image.Image | PhotoError | None:
    if payload is None:
        return None
    if payload.path is None:
        return PhotoError("The photo came without a file: upload one.")
    try:
        return open_photo(payload.path, payload.orig_name or "")
    except PhotoError as error:
        return error


# An image input whose values are RGB pictures, or a PhotoError that says what is wrong. It is no
# ``class`` statement, because Gradio writes a stub file beside the module of each one.
PhotoInput: Any = ABCMeta.__new__(
    type(gr.Image),
    "PhotoInput",
    (gr.Image,),
    {"__module__": __name__, "is_template": True, "preprocess": _open_upload},
)


def _checked(photo: Image.Image | PhotoError | None) -> Image.Image:
    if photo is None:
        raise PhotoError("There is no photo: give one.")
    if isinstance(photo, PhotoError):
        raise photo
    return photo


def build_page(segmenter: Segmenter) -> gr.Blocks:
    """Build the page and its API around a network.

    The first photo is segmented here: it warms the network up, and the page opens with it.

    Raises:
        InputError: If the network cannot segment anything, as its weights are damaged.
    """
    examples = find_examples(segmenter.classes)
    first = examples[0].file if examples else None
    opening = segment_for_page(segmenter, open_photo(first)) if first else None
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True
    ) as page:
        gr.HTML(HEAD, elem_id="head", apply_default_css=False)
        with gr.Row(elem_id="page"):
            with gr.Column(scale=1, min_width=280, elem_id="intake"):
                gr.HTML(about(segmenter), elem_id="about", apply_default_css=False)
                photo = PhotoInput(
                    sources=["upload", "clipboard", "webcam"],
                    label="Photo",
                    show_label=False,
                    height=220,
                    buttons=[],
                    elem_id="photo",
                )
                if examples:
                    build_examples(examples, photo)
            with gr.Column(scale=4, min_width=320, elem_id="result"):
                shown = viewer.build_viewer(opening)
        run = photo.change(
            lambda given: _answer(segmenter, given),
            photo,
            [shown, photo],
            js=TELL_PHOTO,
            show_progress="hidden",
            api_visibility="private",
            **NETWORK,
        )
        run.failure(None, js=TELL_FAILURE)
        page.load(None, js=PASTE)
        _add_api(segmenter)
    page.queue(max_size=32)
    return page


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
        "css_paths": Path(__file__).parent / "page.css",
        "footer_links": ["api", "settings"],
        "max_file_size": "20mb",
        "run_history": False,
        "ssr_mode": False,
    }


def about(segmenter: Segmenter) -> str:
    """Say in HTML what the network finds, and which weights it has; names are escaped."""
    names = [name for name in segmenter.classes if name != BACKGROUND]
    lines = [f"<p>Finds {escape(listed(names, 12))}.</p>"]
    lines.append(f'<p class="quiet">{escape(weights_line(segmenter))}</p>')
    return "".join(lines)


def weights_line(segmenter: Segmenter) -> str:
    """Say which weights are in use and how good they are."""
    line = f"Weights: {Path(segmenter.source).name}"
    metrics = segmenter.metrics
    if isinstance(metrics.get("mean_iou"), float):
        where = f"{metrics.get('dataset', '?')} {metrics.get('split', '')}".strip()
        line += f", {100 * metrics['mean_iou']:.1f} % mIoU on {where}"
    return line


def listed(names: Sequence[str], most: int) -> str:
    """Name things in a sentence, shortened.

    >>> listed(["cat", "dog", "cow"], 3), listed(["cat", "dog", "cow"], 1)
    ('cat, dog and cow', 'cat and 2 more')
    """
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _answer(segmenter: Segmenter, photo: Image.Image | PhotoError | None) -> tuple[Any, Any]:
    """New values for the viewer and the photo input, which lets go of what cannot be used."""
    if photo is None:
        return None, gr.skip()
    try:
        return segment_for_page(segmenter, _checked(photo)), gr.skip()
    except InputError as error:
        return viewer.failure(str(error)), None


def segment_for_page(segmenter: Segmenter, photo: Image.Image) -> dict[str, Any]:
    """Segment a photo for the viewer, at no more than ``LONGEST_SIDE``.

    Raises:
        InputError: If the weights are damaged.
    """
    small = photo.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    segmentation = segmenter(small)
    doubtful = segmentation.mean_confidence < segmenter.doubt_below
    return viewer.result(
        small,
        segmentation,
        message=found_line(segmentation),
        caution=DOUBT if doubtful else "",
        opacity=DOUBTFUL_OPACITY if doubtful else 1.0,
    )


def found_line(segmentation: Segmentation) -> str:
    """Say in words what a photo shows, or that it shows nothing that the network knows."""
    named = [
        one.name
        for one in segmentation.found()
        if one.name != BACKGROUND and one.share >= LEAST_SHARE
    ]
    if named:
        return f"Found {listed(named, 5)} in {segmentation.seconds:.1f} s."
    known = [name for name in segmentation.classes if name != BACKGROUND]
    shortened = ", ".join(known[:5]) + (", …" if len(known) > 5 else "")
    return f"No {shortened} found. Try one of the examples."


def _add_api(segmenter: Segmenter) -> None:
    """Add the endpoint ``/segment``: its components are never drawn."""
    with gr.Column(visible=False):
        gr.Button().click(
            build_endpoint(segmenter),
            [
                PhotoInput(label="Photo"),
                gr.Number(0.6, label="Opacity of the overlay", minimum=0, maximum=1),
                gr.Number(segmenter.stride, label="Stride: 8, 16 or 32", precision=0),
            ],
            [gr.File(label="Labels"), gr.File(label="Overlay"), gr.JSON(label="Summary")],
            api_name="segment",
            **NETWORK,
        )


def build_endpoint(segmenter: Segmenter) -> Callable[..., tuple[str, str, dict[str, Any]]]:
    """The function behind ``/segment``."""

    def segment(
        photo: Image.Image | PhotoError | None, opacity: float = 0.6, stride: int = 8
    ) -> tuple[str, str, dict[str, Any]]:
        """Segment a photo at its own size.

        Args:
            photo: A picture of any common kind, of at most 20 MB and 40 megapixels.
            opacity: How much the colours cover the photo in the overlay, from 0 to 1.
            stride: The finest score map that is used: 32, 16 or 8 pixels a score.

        Returns:
            A palette PNG of class ids; an overlay PNG; and a JSON summary: every class that occurs
            with its name, color, pixels, share and confidence, the size as [width, height], where
            the weights came from, and the seconds it took.
        """
        try:
            image = _checked(photo)
            found = segmenter(image, stride)
            pictures = (found.palette_png(), "labels"), (found.overlay(image, opacity), "overlay")
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        folder = get_upload_folder()
        labels, overlay = (save_pil_to_cache(one, folder, name, "png") for one, name in pictures)
        return labels, overlay, found.summary()

    return segment
