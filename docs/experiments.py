"""Decide the recipe by short runs: ``python -m docs.experiments --data DIR``.

Each run changes one choice of ``BASE`` and takes as many steps as it, on CamVid at half its size.
Results go into ``runs/experiments/results.json`` as they come, so an interrupted series goes on
where it was; the table of all that are there is printed at the end.
"""

import argparse
import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fcn import saving
from fcn.config import TrainConfig
from fcn.head import STRIDES
from fcn.segmenter import Segmenter
from fcn.trainer import Trainer

STEPS = 150
BASE = TrainConfig(
    dataset="camvid",
    size=240,
    crop=(160, 192),
    scale=(0.7, 1.5),
    batch_size=4,
    lr=4e-4,
    backbone_lr=4e-5,
    warmup=30,
    steps=STEPS,
    workers=1,
)
# Each is a list of stages; a stage starts from the weights of the one before.
RUNS: dict[str, list[dict[str, Any]]] = {
    "base": [{}],
    "base, seed 1": [{"seed": 1}],
    "fixed deconvolution": [{"learn_deconvolution": False}],
    "fixed deconvolution, seed 1": [{"learn_deconvolution": False, "seed": 1}],
    "staged 32, 16, 8": [{"stride": stride, "steps": STEPS // 3} for stride in STRIDES],
    "no stage frozen": [{"frozen_stages": 0}],
    "3 stages frozen": [{"frozen_stages": 3}],
    "5 stages frozen": [{"frozen_stages": 5}],
    "width 256": [{"width": 256}],
    "width 512": [{"width": 512}],
    "scale 1": [{"scale": (1.0, 1.0)}],
    "scale 0.5 to 2": [{"scale": (0.5, 2.0)}],
    "photos at 360": [{"size": 360}],
    "balance 0.5": [{"balance": 0.5}],
    "balance 1": [{"balance": 1.0}],
}
RARE = ("Pole", "SignSymbol", "Fence", "Pedestrian", "Bicyclist")


def train(config: TrainConfig, title: str) -> tuple[Trainer, float]:
    """Take all steps of a run; gives the trainer and the seconds they took."""
    trainer = Trainer(config)
    start = time.perf_counter()
    steps = itertools.islice(trainer.batches(), config.steps)
    for passes in tqdm(steps, title, config.steps, mininterval=10):
        trainer.step(passes)
    return trainer, time.perf_counter() - start


def measure(name: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one line of the table and score it at each stride."""
    seconds, before = 0.0, ""
    for number, changes in enumerate(RUNS[name]):
        output = str(folder / f"{name}-{number}".replace(" ", "_"))
        config = dataclasses.replace(BASE, **given, **changes, init=before, output=output)
        trainer, took = train(config, name)
        seconds, before = seconds + took, output
        saving.write(Path(output), trainer.model)
    segmenter = Segmenter.of(saving.rounded(trainer.model), name)
    scored = trainer.score(segmenter, STRIDES)
    matrices = {stride: matrix for stride, (matrix, _) in scored.items()}
    fine = matrices[8]
    return {
        "command": dataclasses.replace(config, data="DIR", output="", init="").command(),
        "mean_iou": {stride: matrix.mean_iou for stride, matrix in matrices.items()},
        "rare_iou": sum(fine.per_class_iou[one] or 0.0 for one in RARE) / len(RARE),
        "pixel_accuracy": fine.pixel_accuracy,
        "seconds_per_step": seconds / STEPS,
        "seed": config.seed,
    }


def show(results: dict[str, Any]) -> str:
    """The table, in Markdown."""
    head = "| run | mIoU | at 16 | at 32 | rare classes | pixel accuracy | s/step |"
    lines = [head, "| --- |" + " --- |" * 6]
    for name, one in results.items():
        scores = [one["mean_iou"][str(stride)] for stride in (8, 16, 32)]
        scores += [one["rare_iou"], one["pixel_accuracy"]]
        cells = [f"{100 * score:.1f}" for score in scores]
        lines.append(f"| {name} | {' | '.join(cells)} | {one['seconds_per_step']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not there yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--backbone-weights", default="imagenet")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN")
    parser.add_argument("--output", type=Path, default=Path("runs/experiments"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "results.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    given = {"data": args.data, "backbone_weights": args.backbone_weights}
    for name in args.only:
        if name not in results:
            results[name] = measure(name, given, args.output)
            file.write_text(json.dumps(results, indent=1))
            results = json.loads(file.read_text())
    print(show({name: results[name] for name in RUNS if name in results}))
    print(f"{STEPS} steps, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
