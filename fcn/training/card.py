"""The model card: what a checkpoint can do, cannot do, came from, and how to make it again.

The convention: every number is read from the checkpoint's own JSON files, fractions of 1 there and
per cent here.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..palette import BACKGROUND
from ..scores import PICTURES, TITLES, percent
from .config import TrainConfig

CARD = """---
{{ card_data }}
---

# FCN-{{ stride }}s on {{ backbone }}, {{ dataset }}

A fully convolutional network (Long, Shelhamer and Darrell 2015) that names each pixel of a photo:
{{ classes }}.

## Scores

On `{{ dataset }}` `{{ split }}`, {{ images }} images. Protocol: {{ protocol }}.

{{ scores }}

{{ per_class }}

{{ calibration }}

{{ absence }}

{{ pictures }}

## Use

In a clone of the code that trained it, where `FOLDER` is this checkpoint or its id on the Hub:

    from fcn.photo import open_photo
    from fcn.segmenter import Segmenter

    photo = open_photo("photo.jpg")
    Segmenter.load("FOLDER")(photo).overlay(photo).show()

## Training

{{ steps }} steps in {{ minutes }} minutes on {{ hardware }}, from {{ started }}, seed {{ seed }}.
With the data in `DIR` and a copy of this checkpoint in `FOLDER`, the same recipe again is

    python train.py --config FOLDER/training.json --data DIR

which is

    {{ command }}
{{ budget }}
## Limits

It knows these {{ count }} classes and gives every pixel one of them, whatever is there. It was
trained on {{ seen }} photos from the sources below and scored on others from the same sources;
expect less elsewhere.
It sees a photo {{ size }}, in cells of {{ stride }}: what is a few cells
small or thin there is mostly lost. Weakest are {{ weakest }}. Below a mean confidence of
{{ doubt }} a result deserves doubt: one validation photo in twenty is that unsure. It is no
judge of people and not for use where an error does harm.

## Sources and licences

{{ sources }}
- {{ licence }}
"""

SOURCES = {
    "backbone": "VGG, Simonyan and Zisserman 2014, trained on ImageNet; CC BY 4.0.",
    "camvid": "CamVid, Brostow et al. 2008/2009, in the split of SegNet, whose val is a few seconds"
    " of one drive, with training frames just before and after; research use.",
    "voc": "PASCAL VOC 2012, Everingham et al., labels partly of SBD, Hariharan et al. 2011; photos"
    " from Flickr, research use.",
    "plus": "Beside VOC: people of Clothing Co-Parsing, Liang et al. 2014, streets of CamVid,"
    " Brostow et al. 2009, everyday photos of COCO, Lin et al. 2014; research use.",
    "scene_parsing": "MIT Scene Parsing (ADE20K), Zhou et al. 2017; BSD for code, research use.",
    "shapes": "Scenes drawn by this project.",
    "folder": "The trainer's own photos.",
    "unknown": "A checkpoint that does not name its own sources: research use, to be safe.",
}


RESEARCH = "Code: Apache-2.0. These weights: for research alone, as their sources ask."
OWN = "Code: Apache-2.0. These weights: as the rights to the trainer's photos allow."
FREE = "Code and these weights: Apache-2.0."
BUDGET = """
It stops after {:g} minutes of training. `--minutes 0 --steps {}` behind it takes as many steps as
were taken here, on any machine.
"""
FRESH = """
It starts from VGG's weights; add `--init CHECKPOINT` to start from others, as this network did.
"""


def list_sources(config: TrainConfig, init: dict[str, Any]) -> list[str]:
    """What a network is made of: keys of ``SOURCES``.

    Args:
        config: Of the run.
        init: ``training.json`` of the checkpoint that the run starts from, if it starts from one:
            what bound its weights binds those that are trained on.
    """
    if config.init:
        before = told_sources(init)
    else:
        before = [] if config.backbone_weights == "none" else ["backbone"]
    own = [config.dataset]
    if config.dataset == "voc" and config.split == "trainplus":
        own.append("plus")
    return list(dict.fromkeys([*before, *own]))


def told_sources(training: dict[str, Any]) -> list[str]:
    """The sources that ``training.json`` tells; an older version's, or a stranger's, may not."""
    told = training.get("sources")
    if not isinstance(told, list):
        return ["unknown"]
    return [one if isinstance(one, str) and one in SOURCES else "unknown" for one in told]


def choose_licence(sources: Iterable[str]) -> tuple[str, str | None, str]:
    """Under what a network may be used that is made of these keys of ``SOURCES``.

    Returns:
        The Hub's licence, its name if the Hub has none, and a line for the card.
    """
    if any("research" in SOURCES[key] for key in sources):
        return "other", "research-only", RESEARCH
    if "folder" in sources:  # of whose photos the program knows nothing
        return "other", "as-its-photos", OWN
    return "apache-2.0", None, FREE


def kept_line(training: dict[str, Any]) -> str:
    """Of which step the weights are, if that is not the last: those that val scored best."""
    scored = [one for one in training.get("history", ()) if "mean_iou" in one]
    best = max(scored, key=lambda one: one["mean_iou"], default={"step": training["step"]})
    is_last = best["step"] == training["step"]
    return "" if is_last else f"; weights kept from step {best['step']:,}, the best scored"


def started_from(training: dict[str, Any]) -> str:
    """What weights a run began with."""
    if training.get("init"):
        return f"the checkpoint {training['init']}"
    if training["backbone_weights"] == "none":
        return "random weights"
    return f"VGG's weights ({training['backbone_weights']})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table.

    >>> print(table(["class", "IoU"], [["cat", "80.0 %"]]))
    | class | IoU |
    | --- | --- |
    | cat | 80.0 % |
    """
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score_table(metrics: dict[str, Any]) -> str:
    """All scores of all engines and strides that the metrics hold."""
    engines = {metrics["engine"]: metrics}
    if "int8" in metrics:
        engines["int8"] = metrics["int8"]
    rows = [
        [title, *(percent(one[key]) for one in engines.values())] for key, title in TITLES.items()
    ]
    for stride, scores in metrics.get("strides", {}).items():
        blank = ["-"] * (len(engines) - 1)
        rows.append([f"mean IoU at stride {stride}", percent(scores["mean_iou"]), *blank])
    return table(["score", *engines], rows)


def calibration_line(metrics: dict[str, Any]) -> str:
    """What was fitted on val, in a sentence; empty if nothing was."""
    if "fitted" not in metrics:
        return ""
    fitted = metrics["fitted"]
    error = fitted["calibration_error"]
    served = ""
    if fitted.get("absent_below") and "served" in error:  # older checkpoints do not know it
        served = f" With classes left out as absent it is {percent(error['served'])}."
    if fitted["temperature"] == 1:
        return (
            f"The expected calibration error is {percent(error['before'])}; a temperature fitted"
            f" on every other photo did not lower it on the rest, so there is none.{served}"
        )
    return (
        f"Temperature {fitted['temperature']:.2f}, fitted on every other photo: the expected"
        f" calibration error of the rest is {percent(error['after'])}, without it"
        f" {percent(error['before'])}.{served}"
    )


def absence_line(config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """When a class is not found in a photo, and what that gains or costs; empty if all may be."""
    fitted = metrics.get("fitted", {})
    if not fitted.get("absent_below"):
        return ""
    below, scores = fitted["absent_below"], fitted["mean_iou_by_absent_below"]
    rule = (
        f"A class that is nowhere in a photo at least {100 * below:.0f} % probable is not found in"
        " it."
    )
    if config.get("presence"):
        rule += (
            " That is its probability by the scores, times the one that the photo shows it at all,"
            f" by a classifier of whole photos fitted on {fitted['training_photos']:,} of the"
            " training split and calibrated on the split that is scored."
        )
    if BACKGROUND in config["classes"]:
        rule += " What looks like a class that is not found is background."
    chosen, free = scores[str(below)], scores["0.0"]
    if chosen < free:
        return (
            f"{rule} That costs mean IoU, {percent(chosen)} where it would be {percent(free)}, so"
            " that fewer things are named that are not there."
        )
    return f"{rule} With this rule the mean IoU is {percent(chosen)}, without it {percent(free)}."


def build_card(
    config: dict[str, Any],
    metrics: dict[str, Any],
    training: dict[str, Any],
    pictures: Iterable[str],
) -> ModelCard:
    """The model card, with a model-index that the Hub reads.

    Args:
        config: ``config.json``.
        metrics: ``metrics.json``.
        training: ``training.json``.
        pictures: Names of the picture files beside the card.
    """
    data_set, options = metrics["dataset"], training["config"]
    sources = told_sources(training)
    licence, licence_name, licence_line = choose_licence(sources)
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=data_set,
            dataset_name=f"{data_set} {metrics['split']}",
            metric_type=key,
            metric_value=round(metrics[key], 4),
        )
        for key in TITLES
    ]
    card_data = ModelCardData(
        license=licence,
        license_name=licence_name,
        library_name="fcn",
        pipeline_tag="image-segmentation",
        tags=["fcn", "semantic-segmentation", config["backbone"]],
        model_name=f"fcn{config['stride']}s-{config['backbone']}-{data_set}",
        eval_results=results,
    )
    per_class = {key: value for key, value in metrics["per_class_iou"].items() if value is not None}
    side = config["inference_size"]
    # Another version's recipe may have more.
    known = {one.name: options[one.name] for one in fields(TrainConfig) if one.name in options}
    shown = [name for name in PICTURES if name in set(pictures)]
    return ModelCard.from_template(
        card_data,
        template_str=CARD,
        **{key: metrics[key] for key in ("dataset", "split", "images", "protocol")},
        **{key: config[key] for key in ("stride", "backbone")},
        classes=", ".join(config["classes"]),
        count=len(config["classes"]),
        scores=score_table(metrics),
        per_class=table(["class", "IoU"], ([key, percent(one)] for key, one in per_class.items())),
        calibration=calibration_line(metrics),
        absence=absence_line(config, metrics),
        pictures="\n".join(f"![{PICTURES[name]}]({name})" for name in shown),
        steps=f"{training['step']:,}",
        minutes=round(training["seconds"] / 60),
        hardware=training["hardware"],
        started=started_from(training),
        seed=f"{options['seed']}{kept_line(training)}",
        command=TrainConfig(**{**known, "data": "DIR"}).command(),
        seen=f"{training['data']['images']:,}",
        size=f"at {side} pixels on the long side" if side else "at its own size",
        weakest=" and ".join(sorted(per_class, key=lambda name: per_class[name])[:2]),
        doubt=f"{100 * config['doubt_below']:.0f} %",
        sources="\n".join(f"- {SOURCES[key]}" for key in sources),
        budget=(BUDGET.format(options["minutes"], training["step"]) if options["minutes"] else "")
        + (FRESH if training.get("init") else ""),
        licence=licence_line,
    )
