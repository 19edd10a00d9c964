"""The page: a photo goes in at the left, the live overlay shows it in segments at the right.

The convention: one run per photo and network. Whatever way a photo came (file, drag, clipboard,
webcam, example), the input fires ``change``, at times twice; the viewer is told, and asks for one
run. It is told of another network too, and asks again for the photo that it shows. Programs use
``/segment`` instead, which gives files at the photo's own size.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
from gradio.route_utils import API_PREFIX
from gradio.state_holder import SessionState
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError
from ..palette import things
from ..photo import MAX_MEGABYTES, NO_PHOTO, PHOTO_ENDINGS, is_shown_alike, open_photo
from ..scores import score_line
from ..segmenter import Segmenter
from . import viewer
from .answer import listed, result_for_page
from .chooser import Networks, build_chooser, pick
from .decoder import decode
from .endpoint import add_endpoint
from .examples import build_examples, find_examples
from .gallery import build_gallery, segment_all
from .learn import build_learn_tab
from .model_tab import build_model_tab
from .photo_input import Given, offer, refuse_links, sent, shown_photo
from .viewer import LONGEST_SIDE, QUIET, read_web

TITLE = "Segment a photo"
HEAD = f'<div class="title"><h1>{TITLE}</h1><a href="#photo">Your photo</a></div>'
# One photo is asked about at a time, from the page or from a program, and one list of several
# beside it: the network itself takes turns between them.
NETWORK: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
SEVERAL: dict[str, Any] = {"concurrency_id": "several", "concurrency_limit": 1}
LIMITS = f"<p>Up to {MAX_MEGABYTES} MB; paste with Ctrl+V. Deleted after an hour.</p>"
LARGEST_BODY = 1_000_000  # bytes of a question
MOST_VALUES = 50_000  # in a question, where 255 classes at three strides have some thousands
LARGEST_UPLOAD = (MAX_MEGABYTES + 1) * 2**20  # of a photo and what a form says around it
TOO_MUCH = f"""\
A request must be under 1 MB; photos go to /upload, one at a time, each up to {MAX_MEGABYTES} MB."""
SESSIONS = 200  # that Gradio keeps something of, at once
UNKNOWN = "That photo is no longer on the server: choose it again."

# What only the page knows is told to what shows it, whose own script then asks and shows.
TELL = """(detail) => document.querySelector('{target}')
  .dispatchEvent(new CustomEvent('{event}', {{ detail }}))"""
TAKE = read_web("take.js").replace(
    "WHAT_IS_TAKEN", json.dumps([MAX_MEGABYTES, PHOTO_ENDINGS, NO_PHOTO])
)


def build_page(segmenters: Sequence[Segmenter], note: str = "") -> gr.Blocks:
    """Build the page and its API around some networks.

    The first photo is segmented here: it warms the first network up, and the page opens with it.

    Args:
        segmenters: The networks to choose from, the one to begin with first.
        note: What is to be said about their weights, besides their names.

    Raises:
        InputError: If the first cannot segment anything, as its weights are damaged.
    """
    refuse_links()
    keep_no_inputs()
    decode.start()
    networks = {one.source: one for one in segmenters}
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(HEAD, elem_id="head", apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Segment", elem_id="segment"):
                chooser, shown = _add_segmenting(networks, note)
            with gr.Tab("Model"):
                build_model_tab(networks, chooser)
            build_learn_tab(networks, chooser, shown, **NETWORK)
        add_endpoint(networks, **NETWORK)
        page.load(None, js=TAKE)
    page.queue(max_size=32, api_open=False)  # or /run would go past it
    return page


def _add_segmenting(networks: Networks, note: str) -> tuple[gr.HTML, gr.HTML]:
    """Add what a photo goes into, the viewer, and their events; give the chooser and the viewer."""
    first = next(iter(networks.values()))
    examples = find_examples(first.classes)
    opening = None
    if examples:
        file = examples[0].file
        photo, is_alike = open_photo(file, longest=LONGEST_SIDE), is_shown_alike(file, LONGEST_SIDE)
        copy = offer(file.read_bytes(), file.name)["path"] if is_alike else ""
        opening = result_for_page(first, photo, first(photo), file.stem, copy)
    with gr.Row(elem_id="page"):
        with gr.Column(scale=1, min_width=240, elem_id="intake"):
            if words := about(first if len(networks) == 1 else None, note):
                gr.HTML(words, elem_id="about", apply_default_css=False)
            chooser = build_chooser(networks)
            given = gr.Image(
                sources=["upload", "webcam"],
                label="Photo",
                show_label=False,
                height=200,
                buttons=[],
                elem_id="photo",
            )
            gr.HTML(LIMITS, elem_id="limits", apply_default_css=False)
            if examples:
                build_examples(examples, given)
            several = build_gallery()
        with gr.Column(scale=4, min_width=320, elem_id="result"):
            shown = viewer.build_viewer(opening)
    given.change(None, given, None, js=TELL.format(target="#viewer figure", event="fcn-photo"))
    _add_runs(networks, chooser, given, shown)
    _add_gallery(networks, chooser, several)
    return chooser, shown


def _add_runs(networks: Networks, chooser: gr.HTML, photo: gr.Image, shown: gr.HTML) -> None:
    """Add what the viewer asks for: a new photo, the same again by another network, strides."""
    latest: dict[str, Any] = {"trigger_mode": "always_last", **QUIET, **NETWORK}
    # What these ask about is in the viewer's value, which only the moment of asking has.
    each: dict[str, Any] = {"trigger_mode": "multiple", **QUIET, **NETWORK}
    run = shown.segment(
        lambda given, source: _answer(networks, source, Given.of(given)),
        [photo, chooser],
        shown,
        preprocess=False,
        **latest,
    )
    again = shown.again(
        lambda value, source: _answer_again(networks, source, value),
        [shown, chooser],
        shown,
        **each,
    )
    strides = shown.strides(lambda value: _answer_strides(networks, value), shown, shown, **each)
    for event in (run, again):
        event.failure(None, js=TELL.format(target="#viewer figure", event="fcn-failed"))
    strides.failure(None, js=TELL.format(target="#viewer figure", event="fcn-strides-failed"))
    shown.cancel(None, cancels=[run, again])
    shown.forget(None, None, photo, js="() => null")


def _add_gallery(networks: Networks, chooser: gr.HTML, several: gr.HTML) -> None:
    def segment_several(given: Any, source: Any) -> Iterator[dict[str, Any]]:
        yield from segment_all(pick(networks, source), given)  # Gradio sees the generator

    run = several.segment(segment_several, [several, chooser], several, **QUIET, **SEVERAL)
    run.failure(None, js=TELL.format(target="#several section", event="several-failed"))
    several.cancel(None, cancels=[run])


class CompressedPage(GZipMiddleware):
    """Compresses the page itself, which Gradio does for files of some endings only."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_page = scope["type"] == "http" and scope["path"] in ("", "/")
        await (super().__call__ if is_page else self.app)(scope, receive, send)


def keep_no_inputs() -> None:
    """Keep no visitor's questions, as Gradio does for links to a page as it was: here are none.

    A question of 1 MB may be 30 MB of objects, for each component and visitor; and such a link
    would show anybody under this page's address what a stranger made it say.
    """
    # There is no setting for it.
    SessionState._update_value_in_config = lambda *_: None  # type: ignore[method-assign]


class SmallBodies:
    """Refuses what is larger than any question of the page, or any photo where it is an upload.

    Gradio has a limit for files alone, and an upload may hold something else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # The whole path: that of a question may end with any name, /run/upload.
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        is_upload = path == f"{API_PREFIX}/upload"
        size, limit = 0, LARGEST_UPLOAD if is_upload else LARGEST_BODY
        values = 0

        async def counted() -> Message:
            nonlocal size, values
            message = await receive()
            body = message.get("body", b"")
            size += len(body)
            if not is_upload:  # lists of nothing are thirty times as large once they are parsed
                values += sum(map(body.count, (b",", b"{", b"[")))
            if size > limit or values > MOST_VALUES:
                raise HTTPException(413, TOO_MUCH)
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)


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
        "app_kwargs": {"middleware": [Middleware(CompressedPage), Middleware(SmallBodies)]},
        "css_paths": viewer.WEB / "page.css",
        "footer_links": ["api", "settings"],
        "max_file_size": f"{MAX_MEGABYTES}mb",
        "run_history": False,
        "state_session_capacity": SESSIONS,
        "ssr_mode": False,
    }


def about(segmenter: Segmenter | None, note: str = "") -> str:
    """Say in HTML what a network finds, and which weights it has; all text is escaped.

    Args:
        segmenter: The network; None if a chooser says it of several.
        note: What else is to be said.
    """
    lines = []
    if segmenter:
        names = listed(things(segmenter.classes), 12)
        lines.append(f"<p>Finds {escape(names)}.</p>")
        lines.append(f'<p class="quiet">{escape(weights_line(segmenter))}</p>')
    if note:
        lines.append(f'<p class="quiet">{escape(note)}</p>')
    return "".join(lines)


def weights_line(segmenter: Segmenter) -> str:
    """Say which weights are in use and how good they are."""
    known = (f"Weights: {segmenter.name}", score_line(segmenter.metrics))
    return ", ".join(filter(None, known))


def _answer(networks: Networks, source: Any, given: Given, shown: str = "") -> dict[str, Any]:
    """What the viewer is to show of a photo, of which a browser may have a file already."""
    segmenter = pick(networks, source)
    try:
        image, is_alike = given.decode(LONGEST_SIDE)
        file = shown or (given.path if is_alike else "")
        payload = result_for_page(segmenter, image, segmenter(image), given.stem, file)
    except InputError as error:
        payload = viewer.failure(str(error))
    return {**payload, "of": given.path, "weights": source}


@contextmanager
def _told() -> Iterator[None]:
    """Tell a browser of a mistake in what it sent, in one sentence."""
    try:
        yield
    except InputError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except (LookupError, TypeError, AttributeError) as error:
        raise gr.Error(UNKNOWN, print_exception=False) from error


def _answer_again(networks: Networks, source: Any, value: Any) -> dict[str, Any]:
    """What another network finds in the photo that a browser says it shows."""
    with _told():
        given, shown = shown_photo(value), sent("The photo", value["photo"]["path"])
    return _answer(networks, source, given, shown.path)


def _answer_strides(networks: Networks, value: Any) -> dict[str, Any]:
    """What the viewer does not show yet of the photo that a browser says it shows."""
    with _told():
        photo = sent("The photo", value["photo"]["path"]).open(LONGEST_SIDE)
        segmenter = pick(networks, value["weights"])
        coarser = segmenter.trained_strides[:-1]
        return viewer.strides(value["run"], segmenter.at_strides(photo, coarser))
