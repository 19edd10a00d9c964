"""Decide the recipe by short runs: ``python -m docs.experiments --data DIR``.

Each run changes ``BASE`` as its name says and takes as many steps, on CamVid at half its size.
Results go into ``runs/experiments/val-STEPS/results.json`` as they come, so an interrupted series
goes on where it was; the table of all that are there is printed at the end.

CamVid's val split is part of a drive whose other frames are trained on. With ``--unseen DRIVE`` one
of the drives of the training split is scored instead, and is left out of it; results go into
``runs/experiments/DRIVE-STEPS``.
"""

import argparse
import dataclasses
import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fcn import checkpoint, saving
from fcn.data.datasets import open_dataset
from fcn.evaluation import evaluate
from fcn.inference.fusion import STRIDES
from fcn.segmenter import Segmenter
from fcn.training.config import TrainConfig
from fcn.training.trainer import Trainer

STEPS = 150
BASE = TrainConfig(
    dataset="camvid",
    context=False,
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
# Each is a list of stages that share the steps; one starts from the weights of the one before.
RUNS: dict[str, list[dict[str, Any]]] = {
    "base": [{}],
    "base, seed 1": [{"seed": 1}],
    "fixed deconvolution": [{"learn_deconvolution": False}],
    "fixed deconvolution, seed 1": [{"learn_deconvolution": False, "seed": 1}],
    "staged 32, 16, 8": [{"stride": stride} for stride in STRIDES],
    "no stage frozen": [{"frozen_stages": 0}],
    "3 stages frozen": [{"frozen_stages": 3}],
    "5 stages frozen": [{"frozen_stages": 5}],
    "width 256": [{"width": 256}],
    "width 512": [{"width": 512}],
    "context": [{"context": True}],
    "scale 1": [{"scale": (1.0, 1.0)}],
    "scale 0.5 to 2": [{"scale": (0.5, 2.0)}],
    "photos at 360": [{"size": 360}],
    "balance 0.5": [{"balance": 0.5}],
    "balance 1": [{"balance": 1.0}],
    "balance 0.5, seed 1": [{"balance": 0.5, "seed": 1}],
    "balance 0.5, no colour": [{"balance": 0.5, "color": 0.0}],
    "balance 0.5, colour 0.4": [{"balance": 0.5, "color": 0.4}],
    "balance 0.5, scale 0.5 to 2": [{"balance": 0.5, "scale": (0.5, 2.0)}],
    "balance 0.5, photos at 360": [{"balance": 0.5, "size": 360}],
    "balance 0.5, photos at 360, seed 1": [{"balance": 0.5, "size": 360, "seed": 1}],
    "balance 0.5, photos at 360, context": [{"balance": 0.5, "size": 360, "context": True}],
    "balance 0.5, photos at 480": [{"balance": 0.5, "size": 480}],
    "balance 0.5, 4 stages frozen": [{"balance": 0.5, "frozen_stages": 4}],
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
    seconds, before, stages = 0.0, "", RUNS[name]
    for number, changes in enumerate(stages):
        output = str(folder / f"{name}-{number}".replace(" ", "_"))
        config = dataclasses.replace(BASE, **given, **changes, init=before, output=output)
        config = dataclasses.replace(config, steps=config.steps // len(stages))
        shutil.rmtree(output, ignore_errors=True)  # of a series that was interrupted here
        trainer, took = train(config, name)
        seconds, before = seconds + took, output
        saving.write(Path(output), trainer.model)
    segmenter = Segmenter.of(saving.rounded(trainer.model), name)
    scored = trainer.score(segmenter, STRIDES)
    matrices = {str(stride): matrix for stride, (matrix, _) in scored.items()}
    fine = matrices["8"]
    # The split is there with --unseen alone, beside the drive that is scored then.
    if (Path(config.data) / "CamVid" / "seen").is_dir():
        matrices |= {"seen": evaluate(segmenter, open_dataset("camvid", config.data, "seen"))[0]}
    return {
        "command": dataclasses.replace(config, data="DIR", output="", init="").command(),
        "mean_iou": {name: matrix.mean_iou for name, matrix in matrices.items()},
        "rare_iou": sum(fine.per_class_iou[one] or 0.0 for one in RARE) / len(RARE),
        "pixel_accuracy": fine.pixel_accuracy,
        "seconds_per_step": seconds / given["steps"],
        "seed": config.seed,
    }


def hold_out(data: Path, drive: str, folder: Path) -> None:
    """Lay CamVid out anew, in links, with one drive of the training split as val.

    Args:
        data: What holds ``CamVid``.
        drive: How the names of its frames begin, such as 0006R0.
        folder: Where ``CamVid`` is made; its split ``seen`` is the val split of old.

    Raises:
        SystemExit: If no frame of the training split is of this drive, or all are.
    """
    for kind in ("", "annot"):
        files = sorted((data / "CamVid" / f"train{kind}").resolve(strict=True).iterdir())
        unseen = [file for file in files if file.name.startswith(drive)]
        if len(unseen) in (0, len(files)):
            drives = sorted({file.name.partition("_")[0] for file in files})
            raise SystemExit(f"no drive to hold out is {drive!r}; there are {', '.join(drives)}")
        seen = (data / "CamVid" / f"val{kind}").resolve(strict=True).iterdir()
        rest = [file for file in files if file not in unseen]
        for split, chosen in {"train": rest, "val": unseen, "seen": seen}.items():
            links = folder / "CamVid" / (split + kind)
            links.mkdir(parents=True, exist_ok=True)
            for file in chosen:
                if not (links / file.name).exists():
                    (links / file.name).symlink_to(file)


def show(results: dict[str, Any]) -> str:
    """The table, in Markdown."""
    columns = {"8": "mIoU", "16": "at 16", "32": "at 32"}
    if any("seen" in one["mean_iou"] for one in results.values()):
        columns["seen"] = "mIoU on val"
    head = ["run", *columns.values(), "rare classes", "pixel accuracy", "s/step"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for name, one in results.items():
        scores = [one["mean_iou"][key] for key in columns]
        scores += [one["rare_iou"], one["pixel_accuracy"]]
        cells = [name, *(f"{100 * score:.1f}" for score in scores)]
        lines.append(" | ".join([*cells, f"{one['seconds_per_step']:.2f}"]))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Run what is not there yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--backbone-weights", default="imagenet")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--unseen", metavar="DRIVE", help="score this drive, and train on the rest")
    args = parser.parse_args()
    output, data = Path(f"runs/experiments/{args.unseen or 'val'}-{args.steps}"), args.data
    if args.unseen:
        hold_out(data, args.unseen, output)
        data = output
    output.mkdir(parents=True, exist_ok=True)
    file = output / "results.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    given = {"data": str(data), "backbone_weights": args.backbone_weights, "steps": args.steps}
    for name in args.only:
        if name not in results:
            results[name] = measure(name, given, output)
            checkpoint.write_json(file, results)
    print(show({name: results[name] for name in RUNS if name in results}))
    print(f"{args.steps} steps, torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
