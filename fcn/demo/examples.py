"""Example photos: those that the installed packages bring along, as buttons with thumbnails.

The convention: a photo is on this list only if it lies in a package that
``requirements-demo.txt`` names, and one that is not there is left out.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from gradio.data_classes import FileData

from .viewer import QUIET, read_web


class Example(NamedTuple):
    """A photo in an installed package: its title, its place, and the classes that it shows."""

    title: str
    package: str
    file: Path
    shows: tuple[str, ...]


EXAMPLES = (  # title, package, place in it, and what it shows
    ("Tower", "gradio", "media_assets/images/tower.jpg", ("sky", "building", "tree")),
    ("Portrait", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", ("person", "flag")),
    ("Lion", "gradio", "media_assets/images/lion.jpg", ("cat", "animal", "rock")),
)


def find_examples(classes: Sequence[str]) -> list[Example]:
    """List the examples that are installed, those that show most of the classes first."""
    known, there = {name.lower() for name in classes}, []
    for title, package, path, shows in EXAMPLES:
        spec = find_spec(package)
        if spec and spec.origin and (file := Path(spec.origin).parent / path).is_file():
            there.append(Example(title, package, file, shows))
    return sorted(there, key=lambda one: -len(known.intersection(one.shows)))


def build_examples(examples: Sequence[Example], photo: gr.Image) -> gr.HTML:
    """Place a button for each example, which puts it into the photo input."""
    buttons = gr.HTML(
        [
            {"title": one.title, "thumbnail": FileData(path=str(one.file)).model_dump()}
            for one in examples
        ],
        html_template="<p>Examples</p><div></div>",
        css_template=read_web("examples.css"),
        js_on_load=read_web("examples.js"),
        apply_default_css=False,
        elem_id="examples",
    )

    def choose(event: gr.EventData) -> str:
        # Gradio's copy: the package's own file it would not let out of the server.
        return str(buttons.value[event.index]["thumbnail"]["path"])

    buttons.choose(
        choose,
        None,
        photo,
        trigger_mode="always_last",
        queue=False,
        **QUIET,
    )
    return buttons
