"""What a checkpoint says about itself: how it was trained, its plots and its model card."""

import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import checkpoint
from .config import TrainConfig
from .datasets import SegmentationDataset

CARD = """---
{{ card_data }}
---

# FCN-{{ stride }}s on {{ backbone }}, {{ dataset }}

A fully convolutional network (Long, Shelhamer and Darrell 2015) that names each pixel of a photo:
{{ classes }}.

| score on `{{ dataset }}` `{{ split }}` ({{ images }} images, {{ engine }}) | |
| --- | --- |
{{ scores }}

Protocol: {{ protocol }}.

| class | IoU |
| --- | --- |
{{ per_class }}

## Use

    from fcn.segmenter import Segmenter
    from fcn.photo import open_photo

    photo = open_photo("photo.jpg")
    Segmenter.load("FOLDER")(photo).overlay(photo).show()

## Training

{{ steps }} steps in {{ minutes }} minutes on {{ hardware }}, started from {{ started }}.
`python train.py --config training.json --data DIR` repeats it.

## Limits

It knows these {{ count }} classes and gives every pixel one of them, whatever is there. It has
seen the kind of photo in its training set and nothing else. A photo whose mean confidence is
below {{ doubt }} deserves doubt: one in a hundred of the validation photos is that unsure.

## Sources

{{ sources }}
"""

SOURCES = {
    "backbone": "VGG, Simonyan and Zisserman 2014, trained on ImageNet; CC BY 4.0.",
    "camvid": "CamVid, Brostow et al. 2008/2009, in the split of SegNet; research use.",
    "voc": "PASCAL VOC 2012, Everingham et al., with photos from Flickr; research use.",
    "scene_parsing": "MIT Scene Parsing (ADE20K), Zhou et al. 2017; BSD for code, research use.",
    "shapes": "Scenes drawn by this project.",
    "folder": "The trainer's own photos.",
}


def describe_training(
    config: TrainConfig, history: dict[str, Any], train_set: SegmentationDataset
) -> dict[str, Any]:
    """``training.json``: the config, what happened, on which machine, code and data."""
    files = "\n".join(train_set.file(index) for index in range(len(train_set)))
    return {
        "config": config.recipe(),
        **history,
        "hardware": describe_hardware(),
        "code": find_revision(),
        "torch": torch.__version__,
        "backbone_weights": Path(config.backbone_weights).name,
        "data": {"images": len(train_set), "sha256": hashlib.sha256(files.encode()).hexdigest()},
    }


def describe_hardware() -> str:
    """The accelerator, or the processor and its cores."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} threads of {platform.machine()}"


def find_revision() -> str:
    """The commit of the code, with a plus if files differ from it; empty outside a clone."""
    folder = Path(__file__).parent
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def write_report(folder: Path) -> None:
    """Draw the plots and write the model card from a checkpoint's JSON files."""
    metrics = checkpoint.read_json(folder, "metrics.json")
    training = checkpoint.read_json(folder, "training.json")
    config = checkpoint.read_json(folder, "config.json")
    plot_curves(training["history"]).savefig(folder / "curves.png")
    plot_per_class(metrics).savefig(folder / "per_class_iou.png")
    plot_confusion(metrics).savefig(folder / "confusion.png")
    build_card(config, metrics, training).save(folder / "README.md")


def build_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure without pyplot's global state, so that it draws in any thread."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_curves(history: list[dict[str, float]]) -> Figure:
    """Training loss and validation scores over the steps."""
    figure, axes = build_figure(7, 4)
    losses = [entry for entry in history if "loss" in entry]
    scores = [entry for entry in history if "mean_iou" in entry]
    axes.plot([e["step"] for e in losses], [e["loss"] for e in losses], color="0.6", lw=1)
    axes.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    right = axes.twinx()
    right.spines[["top"]].set_visible(False)
    for key, label in (("mean_iou", "mIoU"), ("pixel_accuracy", "pixel accuracy")):
        values = [100 * entry[key] for entry in scores]
        right.plot([entry["step"] for entry in scores], values, "o-", ms=3, label=f"val {label}")
    right.set(ylabel="per cent", ylim=(0, 100))
    if scores:
        right.legend(loc="center right", frameon=False)
    return figure


def plot_per_class(metrics: dict[str, Any]) -> Figure:
    """IoU of each class, best first."""
    known = {name: iou for name, iou in metrics["per_class_iou"].items() if iou is not None}
    names = sorted(known, key=lambda name: known[name])
    figure, axes = build_figure(7, 0.8 + 0.26 * max(len(names), 1))
    bars = axes.barh(names, [100 * known[name] for name in names], height=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.axvline(100 * metrics["mean_iou"], color="0.4", lw=1, ls="--")
    axes.set(xlim=(0, 105), xlabel=f"IoU in per cent, mean {100 * metrics['mean_iou']:.1f} dashed")
    axes.margins(y=0.02)
    return figure


def plot_confusion(metrics: dict[str, Any]) -> Figure:
    """What each class's pixels were called, as a share of that class."""
    counts = torch.tensor(metrics["confusion"], dtype=torch.float64)
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp_min(1)
    size = len(shares)
    side = min(3 + 0.4 * size, 16)
    figure, axes = build_figure(side, side)
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    ticks, names = range(size), metrics["classes"]
    axes.set_xticks(ticks, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set(xlabel="prediction", ylabel="label", title="Share of each label's pixels, in per cent")
    for row in range(size if size <= 25 else 0):
        for column in range(size):
            share = shares[row, column].item()
            if share >= 0.5:
                color = "white" if share > 55 else "black"
                axes.text(
                    column, row, f"{share:.0f}", ha="center", va="center", color=color, size=7
                )
    return figure


def build_card(
    config: dict[str, Any], metrics: dict[str, Any], training: dict[str, Any]
) -> ModelCard:
    """The model card, with a model-index that the Hub reads."""
    titles = {"mean_iou": "mean IoU", "pixel_accuracy": "pixel accuracy"}
    titles |= {"mean_accuracy": "mean accuracy", "fw_iou": "frequency weighted IoU"}
    data_set = metrics["dataset"]
    results = [
        EvalResult("image-segmentation", data_set, f"{data_set} {metrics['split']}", key, value)
        for key, value in ((key, round(metrics[key], 4)) for key in titles)
    ]
    card_data = ModelCardData(
        license="apache-2.0",
        library_name="fcn",
        pipeline_tag="image-segmentation",
        tags=["fcn", "semantic-segmentation", config["backbone"]],
        model_name=f"fcn{config['stride']}s-{config['backbone']}-{data_set}",
        eval_results=results,
    )
    options = training["config"]
    known = {key: value for key, value in metrics["per_class_iou"].items() if value is not None}
    return ModelCard.from_template(
        card_data,
        template_str=CARD,
        **{key: metrics[key] for key in ("dataset", "split", "images", "engine", "protocol")},
        **{key: config[key] for key in ("stride", "backbone")},
        classes=", ".join(config["classes"]),
        count=len(config["classes"]),
        scores="\n".join(f"| {titles[key]} | {100 * metrics[key]:.1f} % |" for key in titles),
        per_class="\n".join(f"| {key} | {100 * value:.1f} % |" for key, value in known.items()),
        steps=training["step"],
        minutes=round(training["seconds"] / 60),
        hardware=training["hardware"],
        started=options["init"] or f"VGG's weights ({training['backbone_weights']})",
        doubt=f"{100 * config['doubt_below']:.0f} %",
        sources="\n".join(f"- {SOURCES[key]}" for key in ("backbone", data_set)),
    )
