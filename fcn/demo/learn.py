"""The tab "How it works": six parts, with pictures that the network makes of the visitor's photo.

The convention: nothing is computed before the tab is opened, and then once a photo. The template is
constant and ``web/learn.js`` writes every name as text: class names come with the weights.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import gradio as gr
from PIL import Image

from ..data.shapes import draw_scene
from ..errors import InputError
from ..photo import open_photo
from ..segmenter import Segmenter
from .chooser import Networks, pick
from .examples import find_examples
from .excerpt import Excerpt
from .lesson import SCENE, tell
from .photo_input import Given, offer, shown_photo
from .subject import Part, Picture
from .viewer import LONGEST_SIDE, QUIET, read_web

TEMPLATE = """
<div class="lesson">
  <p class="lesson-status" role="status">One moment, please.</p>
  <div></div>
</div>
"""

BUSY: dict[str, Any] = {"line": "One moment: the network is looking at the photo.", "parts": []}
FAILED: dict[str, Any] = {
    "line": "That did not work. Choose the photo again, or reload the page.",
    "parts": [],
}


def build_learn_tab(networks: Networks, chooser: gr.HTML, viewer: gr.HTML, **queue: Any) -> None:
    """Place the tab; to be called within ``gr.Tabs``.

    Args:
        networks: By source.
        chooser: Which of them tells.
        viewer: What shows the photo that is told of; an example stands in for none.
        queue: How the network is shared, as Gradio's events take it.
    """
    with gr.Tab("How it works", elem_id="learn") as tab:
        lesson = gr.HTML(
            None,
            html_template=TEMPLATE,
            css_template=read_web("learn.css"),
            js_on_load=read_web("learn.js"),
            apply_default_css=False,
            elem_id="lesson",
        )
        last = gr.State()  # the photo and the network that are told of

    def open_tab(value: Any, last: Any, source: Any) -> Iterator[tuple[Any, Any]]:
        segmenter, photo = pick(networks, source), (value or {}).get("photo")
        wanted = photo, segmenter.source
        if wanted == last:
            yield gr.skip(), gr.skip()
            return
        yield BUSY, None
        yield answer(segmenter, value if photo else None), wanted

    for asked in (tab.select, viewer.lesson):  # the latter if a run ends while the tab is open
        run = asked(
            open_tab,
            [viewer, last, chooser],
            [lesson, last],
            trigger_mode="always_last",
            **QUIET,
            **queue,
        )
        run.failure(lambda: FAILED, None, lesson, queue=False, **QUIET)


def answer(segmenter: Segmenter, value: Any = None) -> dict[str, Any]:
    """Tell the lesson in JSON types, its pictures as files in Gradio's cache.

    Args:
        segmenter: The network.
        value: Of a viewer that shows a photo, or None.
    """
    try:
        photo, of = choose_photo(segmenter, shown_photo(value) if value else None)
        parts = [_describe(*told) for told in tell(segmenter, photo)]
    except InputError as error:
        return {"line": str(error), "parts": []}
    return {"line": f"The pictures are of {of}.", "parts": parts}


def choose_photo(segmenter: Segmenter, given: Given | None) -> tuple[Image.Image, str]:
    """The photo given, else the example that shows most of the classes, else a drawn scene."""
    if given:
        return given.open(LONGEST_SIDE), given.stem
    if examples := find_examples(segmenter.classes):
        return open_photo(examples[0].file, longest=LONGEST_SIDE), "an example"
    return draw_scene(SCENE, 480)[0], "a drawn scene"


def _describe(title: str, part: Part, excerpts: list[Excerpt]) -> dict[str, Any]:
    return {
        "title": title,
        "words": part.words,
        "pictures": [_show(one) for one in part.pictures],
        "table": part.table,
        "excerpts": [one._asdict() for one in excerpts],
    }


def _show(picture: Picture) -> dict[str, Any]:
    file = BytesIO()
    kind, options = ("png", {}) if picture.is_cells else ("jpeg", {"quality": 88})
    picture.image.save(file, kind, **options)
    return {
        "caption": picture.caption,
        "cells": picture.is_cells,
        "file": offer(file.getvalue(), f"lesson.{kind}"),
    }
