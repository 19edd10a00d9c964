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


class Example(NamedTuple):
    """A photo in a package: its title, its place, and the classes that it shows."""

    title: str
    package: str
    path: str
    shows: tuple[str, ...]

    @property
    def file(self) -> Path | None:
        """Where it lies, or None if it is not installed."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        file = Path(spec.origin).parent / self.path
        return file if file.is_file() else None


EXAMPLES = (
    Example("Tower", "gradio", "media_assets/images/tower.jpg", ("sky", "building", "tree")),
    Example("Portrait", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", ("person", "flag")),
    Example("Lion", "gradio", "media_assets/images/lion.jpg", ("cat", "animal", "rock")),
)

SCRIPT = """
for (const [index, { title, thumbnail }] of props.value.entries()) {
  const picture = Object.assign(new Image(), { src: thumbnail.url, alt: '' });
  const button = Object.assign(document.createElement('button'), { type: 'button' });
  button.setAttribute('aria-label', `Example: ${title}`);
  button.title = title;
  button.append(picture);
  button.addEventListener('click', () => trigger('choose', { index }));
  element.querySelector('div').append(button);
}
"""
CSS = """
p { margin: 0 0 6px; color: var(--body-text-color-subdued); font-size: 0.875rem }
div { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px }
button { padding: 0; border-radius: 8px; overflow: hidden; cursor: pointer }
button:hover img { opacity: 0.8 }
button:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px }
img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover }
"""


def find_examples(classes: Sequence[str]) -> list[Example]:
    """List the examples that are installed, those that show most of the classes first."""
    known = {name.lower() for name in classes}
    there = [one for one in EXAMPLES if one.file is not None]
    return sorted(there, key=lambda one: -len(known.intersection(one.shows)))


def build_examples(examples: Sequence[Example], photo: gr.Image) -> gr.HTML:
    """Place a button for each example, which puts it into the photo input."""
    buttons = gr.HTML(
        [
            {"title": one.title, "thumbnail": FileData(path=str(one.file)).model_dump()}
            for one in examples
        ],
        html_template="<p>Examples</p><div></div>",
        css_template=CSS,
        js_on_load=SCRIPT,
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
        show_progress="hidden",
        api_visibility="private",
    )
    return buttons
