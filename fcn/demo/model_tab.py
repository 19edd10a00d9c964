"""The tab about the chosen network: what its checkpoint says of it, in numbers and pictures.

The convention: a checkpoint may come from anyone. What its files lack, or have of another kind than
this project writes, is a dash or left out, and all of its text is escaped where it becomes HTML.
"""

import shlex
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from .. import checkpoint
from ..errors import InputError
from ..palette import things
from ..scores import PICTURES, TITLES, percent
from ..segmenter import Segmenter
from .chooser import Networks, pick
from .photo_input import offer
from .viewer import QUIET, read_web

LARGEST = 1e12  # numbers beyond it are no measurement, infinity among them
LARGEST_PICTURE = 5_000_000  # bytes
PNG = b"\x89PNG\r\n\x1a\n"  # what such a file begins with


def build_model_tab(networks: Networks, chooser: gr.HTML) -> None:
    """Fill the tab, about the first network until the chooser says otherwise.

    Args:
        networks: By source.
        chooser: What ``build_chooser`` gave.
    """
    first = next(iter(networks.values()))
    # Once: what a browser may ask for again and again must not fill the disk.
    pictures_of = {source: find_pictures(one) for source, one in networks.items()}
    css = read_web("model.css")
    with gr.Row(elem_id="model"):
        numbers = gr.HTML(
            describe(first), css_template=css, apply_default_css=False, elem_id="numbers"
        )
        pictures = gr.HTML(
            pictures_of[first.source],
            html_template='<div class="pictures"></div>',
            css_template=css,
            js_on_load=read_web("model.js"),
            apply_default_css=False,
            elem_id="pictures",
        )

    def show(source: str) -> tuple[str, list[dict[str, Any]]]:
        chosen = pick(networks, source)
        return describe(chosen), pictures_of[chosen.source]

    chooser.choose(
        show,
        chooser,
        [numbers, pictures],
        trigger_mode="always_last",
        queue=False,
        **QUIET,
    )


def describe(segmenter: Segmenter) -> str:
    """Say in HTML what a checkpoint's files say in JSON."""
    metrics, training = read(segmenter, "metrics.json"), read(segmenter, "training.json")
    config = read(segmenter, "config.json")
    parts = [
        f"<h2>{escape(segmenter.name)}</h2>",
        f"<p>Finds {escape(', '.join(things(segmenter.classes)))}.</p>",
        facts(segmenter, config, metrics, training),
        *titled("Scores", score_table(metrics)),
        *titled("IoU of each class", class_table(segmenter.classes, metrics)),
        *titled("Train it again", command(segmenter)),
    ]
    return "\n".join(parts)


def read(segmenter: Segmenter, name: str) -> dict[str, Any]:
    """A JSON file of a network's checkpoint; empty if it is not there or is damaged."""
    if segmenter.folder is None:
        return {}
    try:
        return checkpoint.read_json(segmenter.folder, name)
    except InputError:
        return {}


def find(value: Any, *keys: str) -> Any:
    """Follow keys into JSON objects.

    >>> find({"data": {"images": 367}}, "data", "images"), find({"data": "lost"}, "data", "images")
    (367, None)
    """
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def number(value: Any, *keys: str) -> float | None:
    """``find``, if it leads to a number."""
    found = find(value, *keys)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if is_number and abs(found) < LARGEST else None


def count(value: Any, *keys: str) -> str:
    """``find`` a number of things, in digits."""
    found = number(value, *keys)
    return "?" if found is None else f"{found:,.0f}"


def text(value: Any, *keys: str) -> str:
    """``find``, if it leads to words: so many of them as a line may have."""
    found = find(value, *keys)
    return found[:200] if isinstance(found, str) else ""


def facts(
    segmenter: Segmenter, config: dict[str, Any], metrics: dict[str, Any], training: dict[str, Any]
) -> str:
    """Where a network came from and how it sees a photo, as an HTML list."""
    lines = {"Network": f"FCN-{segmenter.stride}s on {text(config, 'backbone') or 'VGG'}"}
    if training:
        learned = f"{text(training, 'config', 'dataset')} {text(training, 'config', 'split')}"
        lines["Trained on"] = (
            f"{learned.strip()}, {count(training, 'data', 'images')} photos:"
            f" {count(training, 'step')} steps in {minutes(training)} minutes on"
            f" {text(training, 'hardware')}"
        )
    if metrics:
        scored = f"{text(metrics, 'dataset')} {text(metrics, 'split')}"
        lines["Scored on"] = f"{scored.strip()}, {count(metrics, 'images')} photos"
    size = segmenter.inference_size
    lines["Sees a photo at"] = f"{size} pixels on the long side" if size else "its own size"
    lines["Temperature"] = temperature_line(segmenter, metrics)
    if segmenter.absent_below:
        lines["Finds a class"] = (
            f"if its highest probability reaches {percent(segmenter.absent_below)}"
        )
        if config.get("presence"):
            lines["Finds a class"] += ", by its scores times its presence in the whole photo"
    lines["Engine"] = ENGINE_TITLES.get(segmenter.engine, segmenter.engine)
    lines["Source"] = segmenter.source
    lines["Revision"] = segmenter.revision
    lines["Code"] = text(training, "code")
    rows = (f"<dt>{key}<dd>{escape(line)}" for key, line in lines.items() if line)
    return f"<dl>{''.join(rows)}</dl>"


def minutes(training: dict[str, Any]) -> str:
    """How long the training took."""
    seconds = number(training, "seconds")
    return "?" if seconds is None else f"{seconds / 60:,.0f}"


ENGINE_TITLES = {"onnx": "int8 in ONNX Runtime", "torch": "PyTorch"}


def temperature_line(segmenter: Segmenter, metrics: dict[str, Any]) -> str:
    """What logits are divided by, and what that is good for."""
    line = f"{segmenter.temperature:.2f}"
    errors = [number(metrics, "fitted", "calibration_error", key) for key in ("after", "before")]
    if None in errors:
        return line
    served = number(metrics, "fitted", "calibration_error", "served")
    more = "" if served is None else f", as served {percent(served)}"
    if segmenter.temperature == 1:
        return f"none; calibration error {percent(errors[1])}{more}"
    return f"{line}: calibration error {percent(errors[0])}, without it {percent(errors[1])}{more}"


def score_table(metrics: dict[str, Any]) -> str:
    """All scores of all engines and strides, as HTML; empty if there are none."""
    engines = {text(metrics, "engine") or "score": metrics, "int8": find(metrics, "int8")}
    engines = {name: one for name, one in engines.items() if isinstance(one, dict) and one}
    rows = [
        [title, *(percent(number(one, key)) for one in engines.values())]
        for key, title in TITLES.items()
    ]
    for stride in ("32", "16", "8"):
        scores = [number(one, "strides", stride, "mean_iou") for one in engines.values()]
        rows.append([f"mean IoU at stride {stride}", *map(percent, scores)])
    return html_table(["", *engines], [row for row in rows if set(row[1:]) - {"-"}])


def class_table(classes: Sequence[str], metrics: dict[str, Any]) -> str:
    """IoU of each class with a bar, best first, as HTML; empty if there is none."""
    scores = find(metrics, "per_class_iou")
    there = [name for name in classes if isinstance(scores, dict) and name in scores]
    known = {name: number(scores, name) for name in there}
    names = sorted(known, key=lambda name: -(known[name] or 0))
    rows = [[name, percent(known[name])] for name in names]
    return html_table(["class", "IoU", ""], rows, [known[name] or 0 for name in names])


def html_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], bars: Iterable[float] = ()
) -> str:
    """A table of texts, whose rows may have bars of 0 to 1; empty if it has no rows.

    >>> html_table(["", "IoU"], [["<b>", "50.0 %"]])
    '<table><tr><td><th scope="col">IoU<tr><th scope="row">&lt;b&gt;<td>50.0 %</table>'
    """
    if not rows:
        return ""
    lines = ["".join(f'<th scope="col">{escape(one)}' if one else "<td>" for one in head)]
    lines += [
        f'<th scope="row">{escape(first)}' + "".join(f"<td>{escape(one)}" for one in others)
        for first, *others in rows
    ]
    for i, bar in enumerate(bars, 1):
        lines[i] += f'<td class="bar"><i style="width:{100 * min(max(bar, 0), 1):.1f}%"></i>'
    return f"<table>{''.join(f'<tr>{line}' for line in lines)}</table>"


def titled(title: str, content: str) -> list[str]:
    """A heading and what is under it; nothing if nothing is."""
    return [f"<h3>{title}</h3>", content] if content else []


def command(segmenter: Segmenter) -> str:
    """The command that trains a checkpoint again, as HTML; empty if nobody knows how it was."""
    if segmenter.folder is None or not (segmenter.folder / "training.json").is_file():
        return ""
    folder = shlex.quote(str(segmenter.folder))
    if segmenter.revision:
        repo_id = segmenter.source.partition("@")[0]
        folder = f'"$(python -m fcn pull {repo_id}@{segmenter.revision})"'
    line = f"python train.py --config {folder}/training.json --data DIR"
    training = read(segmenter, "training.json")
    steps = number(training, "step")
    if number(training, "config", "minutes") and steps:  # in which others take fewer steps
        line += f" --minutes 0 --steps {steps:.0f}"
    return f"<pre>{escape(line)}</pre>"


def find_pictures(segmenter: Segmenter) -> list[dict[str, Any]]:
    """The pictures in a checkpoint's folder with their titles, those that a run writes first."""
    files = segmenter.folder.glob("*.png") if segmenter.folder else ()
    there = {one.name: one for one in files if is_picture(one)}
    names = [*(one for one in PICTURES if one in there), *sorted(there.keys() - PICTURES)]
    return [
        {"title": PICTURES.get(name, name), "file": offer(there[name].read_bytes(), name)}
        for name in names
    ]


def is_picture(file: Path) -> bool:
    """Whether a file is a PNG, and not by its name alone: a link may lead to a secret."""
    if not file.is_file() or file.stat().st_size > LARGEST_PICTURE:
        return False
    with file.open("rb") as opened:
        return opened.read(len(PNG)) == PNG
