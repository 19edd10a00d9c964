"""The model card: every number and source that it must tell, and a header that the Hub reads."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fcn.training.card import build_card, list_sources
from fcn.training.config import TrainConfig
from fcn.training.report import describe_origin

CLASSES = ["background", "cat", "dog"]
CONFIG = {
    "classes": CLASSES,
    "backbone": "vgg16",
    "stride": 8,
    "inference_size": 480,
    "doubt_below": 0.91,
    "presence": True,
}
SCORES = {
    "mean_iou": 0.7,
    "pixel_accuracy": 0.9,
    "mean_accuracy": 0.8,
    "fw_iou": 0.85,
    "per_class_iou": {"background": 0.95, "cat": 0.4, "dog": None},
}
METRICS = {
    **SCORES,
    "dataset": "voc",
    "split": "valplus",
    "images": 364,
    "engine": "torch",
    "protocol": "as it is",
    "strides": {"32": {"mean_iou": 0.61}, "8": {"mean_iou": 0.7}},
    "fitted": {
        "temperature": 1.53,
        "calibration_error": {"before": 0.042, "after": 0.011, "served": 0.023},
        "training_photos": 4190,
        "absent_below": 0.8,
        "mean_iou_by_absent_below": {"0.0": 0.68, "0.8": 0.7, "0.9": 0.69},
    },
    "int8": {**SCORES, "mean_iou": 0.698},
}
TRAINING = {
    "step": 3400,
    "seconds": 5400.0,
    "hardware": "2 threads of x86_64",
    "backbone_weights": "vgg16.safetensors",
    "init": "",
    "sources": ["backbone", "voc", "plus"],
    "data": {"images": 4190},
    "config": TrainConfig(
        dataset="voc", split="trainplus", classes=CLASSES, lr=4e-4, minutes=90
    ).recipe(),
}


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return build_card(CONFIG, METRICS, TRAINING, ["curves.png", "other.png"])


@pytest.mark.parametrize(
    "told",
    [
        "| mean IoU | 70.0 % | 69.8 % |",
        "| mean IoU at stride 32 | 61.0 % | - |",
        "| cat | 40.0 % |",
        "calibration error of the rest is 1.1 %, without it 4.2 %",
        "With classes left out as absent it is 2.3 %.",
        "nowhere in a photo at least 80 % probable is not found",
        "fitted on 4,190 of the training split and calibrated on the split that is scored.",
        "What looks like a class that is not found is background",
        "With this rule the mean IoU is 70.0 %, without it 68.0 %",
        "![Loss and validation scores over the steps](curves.png)",
        "3,400 steps in 90 minutes on 2 threads of x86_64",
        "stops after 90 minutes of training. `--minutes 0 --steps 3400` behind it",
        "python train.py --dataset voc --data DIR --split trainplus --classes background cat dog",
        "Weakest are cat and background",
        "mean confidence of\n91 %",
        "Clothing Co-Parsing",
        "Simonyan and Zisserman",
        "4,190 photos",
        "trained on",
    ],
)
def test_the_card_tells(card: ModelCard, told: str) -> None:
    assert told in card.content


def test_the_card_names_nothing_that_is_not_there(card: ModelCard) -> None:
    assert "other.png" not in card.content
    assert "{{" not in card.content


def test_the_hub_reads_the_scores(card: ModelCard, tmp_path: Path) -> None:
    card.save(tmp_path / "README.md")
    data = ModelCard.load(tmp_path / "README.md").data
    scores = {one.metric_type: one.metric_value for one in data.eval_results}
    assert scores["mean_iou"] == 0.7
    assert (data.license, data.license_name) == ("other", "research-only")
    assert data.eval_results[0].dataset_name == "voc valplus"


def test_the_card_says_what_the_threshold_costs() -> None:
    scores = {"0.0": 0.72, "0.8": 0.7}
    fitted = METRICS["fitted"] | {"mean_iou_by_absent_below": scores}
    content = build_card(CONFIG, METRICS | {"fitted": fitted}, TRAINING, []).content
    assert "That costs mean IoU, 70.0 % where it would be 72.0 %" in content


@pytest.mark.parametrize(
    ("scores", "told"),
    [([0.5, 0.6], "seed 0.\n"), ([0.6, 0.5], "seed 0; weights kept from step 1,000, the best")],
)
def test_the_card_says_whose_weights_were_kept(scores: list[float], told: str) -> None:
    steps = (1000, TRAINING["step"])
    history = [{"step": n, "mean_iou": one} for n, one in zip(steps, scores, strict=True)]
    assert told in build_card(CONFIG, METRICS, {**TRAINING, "history": history}, []).content


def test_a_card_says_of_another_checkpoint_that_it_was_the_start() -> None:
    content = build_card(CONFIG, METRICS, {**TRAINING, "init": "street"}, []).content
    assert "from the checkpoint street, seed" in content
    assert "--init CHECKPOINT" in content


def test_weights_of_drawn_scenes_are_free() -> None:
    drawn = {**TRAINING, "sources": ["shapes"], "backbone_weights": "none"}
    card = build_card(CONFIG, {**METRICS, "dataset": "shapes"}, drawn, [])
    assert card.data.license == "apache-2.0" and card.data.license_name is None
    assert "Code and these weights: Apache-2.0." in card.content
    assert "from random weights, seed" in card.content and "ImageNet" not in card.content


@pytest.mark.parametrize(
    ("config", "before", "sources"),
    [
        ({"dataset": "shapes"}, {}, ["backbone", "shapes"]),
        ({"dataset": "shapes", "backbone_weights": "none"}, {}, ["shapes"]),
        ({"dataset": "folder", "split": "trainplus"}, {}, ["backbone", "folder"]),
        ({"dataset": "voc", "split": "trainplus"}, {}, ["backbone", "voc", "plus"]),
        ({"dataset": "voc", "split": "myplus"}, {}, ["backbone", "voc"]),
        ({"init": "x"}, {"sources": ["backbone", "camvid"]}, ["backbone", "camvid", "folder"]),
        ({"init": "x"}, {}, ["unknown", "folder"]),
        ({"init": "x"}, {"sources": None}, ["unknown", "folder"]),
        ({"init": "x"}, {"sources": ["camvid", "x", ["y"]]}, ["camvid", "unknown", "folder"]),
    ],
)
def test_sources_are_those_of_the_data_and_of_what_came_before(config, before, sources) -> None:
    assert list_sources(TrainConfig(**{"dataset": "folder", **config}), before) == sources


@pytest.mark.parametrize(
    ("sources", "licence"),
    [
        (["backbone", "shapes"], ("apache-2.0", None)),
        (["backbone", "folder"], ("other", "as-its-photos")),
        (["backbone", "camvid", "folder"], ("other", "research-only")),
        (["unknown"], ("other", "research-only")),
    ],
)
def test_what_binds_any_of_its_sources_binds_a_network(sources, licence) -> None:
    card = build_card(CONFIG, METRICS, {**TRAINING, "sources": sources}, [])
    assert (card.data.license, card.data.license_name) == licence


def test_the_recipe_of_another_version_has_a_card() -> None:
    options = {**TRAINING["config"], "momentum": 0.9, "data": "/home/me/data"}
    content = build_card(CONFIG, METRICS, {**TRAINING, "config": options}, []).content
    assert "    python train.py " in content and "--data DIR" in content


def test_a_run_of_before_there_were_sources_is_taken_to_be_for_research(tmp_path: Path) -> None:
    older = {key: value for key, value in TRAINING.items() if key not in ("sources", "init")}
    assert build_card(CONFIG, METRICS, older, []).data.license == "other"
    (tmp_path / "training.json").write_text(json.dumps(older))
    assert describe_origin(TrainConfig(), tmp_path)["sources"] == ["unknown"]


def test_a_card_without_fitting_and_int8_is_whole() -> None:
    plain = {key: METRICS[key] for key in METRICS if key not in ("fitted", "int8", "strides")}
    content = build_card(CONFIG, plain, TRAINING, []).content
    assert "| mean IoU | 70.0 % |\n" in content
    assert "Temperature" not in content
