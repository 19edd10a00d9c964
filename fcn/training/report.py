"""What a run says about itself: where it came from, its plots, and one page that holds it all.

The convention: a checkpoint's folder gets what may be published, and a run's own page, with photos
of the data set in it, stays in the run's folder.
"""

import base64
import dataclasses
import hashlib
import io
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from .. import checkpoint
from ..data.datasets import SegmentationDataset
from ..scores import percent
from ..segmenter import Segmenter
from .album import Album, draw_panels, paint
from .card import build_card, calibration_line, kept_line, list_sources, told_sources
from .config import TrainConfig
from .plots import plot_confusion, plot_curves, plot_per_class

PLOTS = ("curves.png", "per_class_iou.png", "confusion.png")
EXTREMES = 3  # best and worst photos that are shown
MOST_LOSSES = 10_000  # in training.json
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
        padding: 0 1rem }}
img {{ max-width: 100%; height: auto }}
pre {{ background: #f1f5f9; padding: 1rem; overflow-x: auto; white-space: pre-wrap }}
table {{ border-collapse: collapse }}
th, td {{ padding: 0.2rem 1rem 0.2rem 0; text-align: right; border-bottom: 1px solid #e2e8f0 }}
th:first-child, td:first-child {{ text-align: left }}
</style>
<h1>{title}</h1>
<p>{lead}</p>
<pre>{command}</pre>
{sections}
</html>
"""


def describe_origin(
    config: TrainConfig, last: Path | None, init: Path | None = None
) -> dict[str, Any]:
    """What a run's weights were at first, and all that they are made of.

    Args:
        config: Of the run.
        last: The checkpoint that it goes on from if it is resumed: its origin stays.
        init: The checkpoint that it starts from, if there is one.

    Returns:
        Part of ``training.json``; ``hardware`` is what steps were taken on so far, and ``torch``
        the versions.
    """
    if last:
        told = checkpoint.read_json(last, "training.json")
        kept = {key: told.get(key, "") for key in ("backbone_weights", "init", "hardware", "torch")}
        return {**kept, "sources": told_sources(told)}
    before = checkpoint.read_json(init, "training.json") if init else {}
    return {
        "backbone_weights": Path(config.backbone_weights).name,
        "init": Path(config.init).name,
        "sources": list_sources(config, before),
        "hardware": "",
        "torch": "",
    }


def describe_training(
    config: TrainConfig,
    origin: dict[str, Any],
    how_far: dict[str, Any],
    hardware: str,
    photos: dict[str, Any],
) -> dict[str, Any]:
    """``training.json``: the config, what happened, on which machines, code and data.

    Args:
        config: Of the run.
        origin: As ``describe_origin`` tells it.
        how_far: The fields of ``Progress``.
        hardware: What steps are taken on; empty if none was since the run was resumed.
        photos: ``data`` and ``val_data``, as ``describe_photos`` tells them.
    """
    return {
        "config": config.recipe(),
        **how_far,
        "history": thin(how_far["history"]),
        "code": find_revision(),
        **origin,
        "hardware": followed(origin["hardware"], hardware),
        "torch": followed(origin["torch"], torch.__version__),
        **photos,
    }


def thin(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Leave out losses, evenly, of a history so long that no pull would take its file."""
    losses = [one for one in history if "loss" in one]
    every = max(1, -(-len(losses) // MOST_LOSSES))
    kept = {one["step"] for one in losses[::-every]}  # the newest among them
    return [one for one in history if "loss" not in one or one["step"] in kept]


def describe_photos(dataset: SegmentationDataset) -> dict[str, Any]:
    """How many photos a split has, each once, and a hash of their names and the files' sizes.

    Sizes tell photos of equal names apart, and labels that were corrected, and nothing is read.
    """
    digest, pairs = hashlib.sha256(), dict.fromkeys(dataset.pairs)
    for photo, mask in pairs:
        sizes = () if dataset.is_drawn else (photo.stat().st_size, mask.stat().st_size)
        digest.update(os.fsencode(f"{photo.name} {sizes}\n"))  # a name need not be text
    return {"images": len(pairs), "files_sha256": digest.hexdigest()}


def describe_hardware(device: torch.device, processes: int) -> str:
    """The accelerators, one for each process, or the processor's threads."""
    if device.type == "cpu":
        return f"{processes * torch.get_num_threads()} threads of {platform.machine()}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{processes} x {name}"


def followed(before: str, now: str) -> str:
    """Name what a run was on in their order, one after another.

    >>> followed("", "1 x GPU"), followed("1 x GPU", "2 threads of x86_64")
    ('1 x GPU', '1 x GPU, then 2 threads of x86_64')
    >>> followed("1 x GPU", "")
    '1 x GPU'
    """
    is_same = before.split(", then ")[-1] == now
    return before if is_same else ", then ".join(filter(None, (before, now)))


def find_revision() -> str:
    """The commit of the code, with a plus if files differ; empty outside a clone or without git."""
    folder = Path(__file__).parent
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def write_report(folder: Path, strip: Figure | None = None) -> None:
    """Draw the plots and write the model card from a checkpoint's JSON files.

    Args:
        folder: The checkpoint.
        strip: How photos that may be published looked as the network learned, if there are any.
    """
    metrics = checkpoint.read_json(folder, "metrics.json")
    training = checkpoint.read_json(folder, "training.json")
    config = checkpoint.read_json(folder, "config.json")
    figures = plot_curves(training["history"]), plot_per_class(metrics), plot_confusion(metrics)
    for name, figure in zip(PLOTS, figures, strict=True):
        figure.savefig(folder / name)
    if strip is not None:
        strip.savefig(folder / "progress.png")
    pictures = [file.name for file in folder.glob("*.png")]
    build_card(config, metrics, training, pictures).save(folder / "README.md")


def write_run_report(
    config: TrainConfig,
    folder: Path,
    album: Album,
    segmenter: Segmenter,
    val_set: SegmentationDataset,
    ranking: Sequence[tuple[float, int]],
) -> Path:
    """Write ``report.html``, one file without any other, and the strips into the run's folder.

    Args:
        config: Of the run.
        folder: Its best checkpoint, with what ``write_report`` wrote.
        album: Its looks.
        segmenter: Of the best checkpoint.
        val_set: What the ranking is about.
        ranking: Mean IoU and index of validation photos, worst first.

    Returns:
        The page.
    """
    run = config.folder()
    metrics = checkpoint.read_json(folder, "metrics.json")
    training = checkpoint.read_json(folder, "training.json")
    sections = [section("Scores by class", [class_table(metrics)])]
    for group in ("train", "val", "watched"):
        if (strip := album.strip(group)) is not None:
            file = run / f"strip_{group}.png"
            strip.savefig(file)
            picture = embed(file.read_bytes())
            sections.append(section(f"From blobs to silhouettes: {group}", [picture]))
    plots = [embed((folder / name).read_bytes()) for name in PLOTS]
    sections.append(section("Learning, classes and confusion", plots))
    for title, some in (("Worst", ranking[:EXTREMES]), ("Best", ranking[::-1][:EXTREMES])):
        rows = [show_photo(segmenter, val_set, index) for _, index in some]
        told = ", ".join(f"{val_set.file(index)} {percent(score)}" for score, index in some)
        if rows:
            buffer = io.BytesIO()
            draw_panels(rows).savefig(buffer, format="png")
            told = f"<p>Mean IoU of each photo by itself: {escape(told)}.</p>"
            parts = [told, embed(buffer.getvalue())]
            sections.append(section(f"{title} validation photos", parts))
    told = json.dumps(training["config"], indent=1, ensure_ascii=False)
    sections.append(section("Every choice", [f"<pre>{escape(told)}</pre>"]))
    lead = (
        f"{percent(metrics['mean_iou'])} mean IoU, {percent(metrics['pixel_accuracy'])} pixel"
        f" accuracy on {metrics['dataset']} {metrics['split']} ({metrics['images']} images) after"
        f" {training['step']:,} steps, {training['seconds'] / 60:.0f} minutes on"
        f" {training['hardware']}{kept_line(training)}. {calibration_line(metrics)} To repeat it:"
    )
    again = dataclasses.replace(config, output="", resume=False, push="", space="", force=False)
    page = PAGE.format(
        title=escape(f"FCN-{config.stride}s on {config.dataset}"),
        lead=escape(lead),
        command=escape(again.command()),
        sections="\n".join(sections),
    )
    file = run / "report.html"
    file.write_text(page, encoding="utf-8", errors="backslashreplace")  # a photo's name may be any
    return file


def show_photo(segmenter: Segmenter, dataset: SegmentationDataset, index: int) -> dict[str, Any]:
    """A photo beside its label and its prediction, as panels."""
    photo, labels = dataset.read(index)
    named = segmenter.classes, segmenter.palette
    predicted = segmenter(photo).labels
    return {
        "photo": photo,
        "label": paint(photo, labels, *named),
        "prediction": paint(photo, predicted, *named),
    }


def section(title: str, parts: Any) -> str:
    """A titled part of the page; the parts are HTML."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])


def class_table(metrics: dict[str, Any]) -> str:
    """IoU and share of the labels of every class, as HTML."""
    totals = [sum(row) for row in metrics["confusion"]]
    everything = max(sum(totals), 1)
    rows = [
        f"<tr><td>{escape(name)}<td>{percent(iou)}<td>{percent(pixels / everything)}"
        for (name, iou), pixels in zip(metrics["per_class_iou"].items(), totals, strict=True)
    ]
    return f"<table><tr><th>class<th>IoU<th>pixels{''.join(rows)}</table>"


def embed(png: bytes) -> str:
    """An HTML picture that needs no file."""
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
