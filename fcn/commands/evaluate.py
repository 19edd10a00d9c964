"""``python -m fcn evaluate``: score a checkpoint on a data set."""

import argparse
import json
import sys
import time
from pathlib import Path

from ..checkpoint import read_recipe
from ..data.datasets import DATASETS, SegmentationDataset, open_dataset
from ..evaluation import describe, evaluate
from ..inference.averaging import AveragedSegmenter
from ..palette import BACKGROUND
from ..protocols import saver
from ..segmenter import Segmenter
from .flags import add_data_flags, add_engine_flags, choose_dataset, count

HELP = "score a checkpoint"
TEXT = """\
Score a checkpoint on a split whose labels are known: mean IoU, pixel accuracy and more.

Photos are read as they are stored, since labels know nothing of EXIF rotation, and go through the
same steps as when they are served. Predictions are compared at the labels' own resolution, in one
confusion matrix over the split; 255 is ignored. Scores are percentages in the table and fractions
of 1 with --json.
"""
EXAMPLES = """\
examples:
  python -m fcn evaluate checkpoints/street --data DIR
  python -m fcn evaluate runs/voc --dataset voc --data DIR --stride 32 --json > scores.json
  python -m fcn evaluate runs/scene_parsing --data DIR --save-predictions out
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``evaluate``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint folder, run or Hub id")
    add_data_flags(parser, is_trained=True)
    parser.add_argument("--split", help="split to score (default: the one it was chosen on)")
    parser.add_argument(
        "--limit", type=count, default=0, metavar="N", help="only the first N photos (default: all)"
    )
    parser.add_argument(
        "--save-predictions",
        type=Path,
        metavar="OUT",
        help="also write a PNG per photo, with the data set's own numbers, for `score` to read",
    )
    parser.add_argument(
        "--scales",
        type=scales,
        default=(1.0,),
        metavar="S,S,...",
        help="average over the photo at these scales, such as 0.75,1,1.25 (default: 1)",
    )
    parser.add_argument("--flip", action="store_true", help="average over its mirror image too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_engine_flags(parser)


def open_for(segmenter: Segmenter, args: argparse.Namespace) -> SegmentationDataset:
    """Open the split to score; without ``--classes``, with the checkpoint's if it has them all."""
    known = segmenter.classes
    where = (args.dataset, args.data, args.split)
    dataset = open_dataset(*where, args.classes, args.others)
    some = set(known) <= {*dataset.classes, BACKGROUND}
    if args.classes or not some or known == dataset.classes:
        return dataset
    return open_dataset(*where, known, args.others)


def complete(segmenter: Segmenter, args: argparse.Namespace) -> None:
    """Take what the flags leave out from the checkpoint's training.

    Raises:
        InputError: If neither tells the data set.
    """
    trained = read_recipe(segmenter.folder) if segmenter.folder else {}
    args.dataset = choose_dataset(args.dataset, trained, args.checkpoint)
    usual = "background" if BACKGROUND in segmenter.classes else "ignore"
    args.others = args.others or trained.get("others", usual)
    chosen_on = trained.get("val_split") if args.dataset == trained.get("dataset") else ""
    args.split = args.split or chosen_on or DATASETS[args.dataset].val


def scales(text: str) -> tuple[float, ...]:
    """Parse scales, each more than 0 and at most 4."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        told = f"{text} is not a list of scales such as 0.75,1,1.25"
        raise argparse.ArgumentTypeError(told) from error
    if not all(0 < value <= 4 for value in values):
        raise argparse.ArgumentTypeError(f"{text} has a scale that is not between 0 and 4")
    return values


def run(args: argparse.Namespace) -> int:
    """Evaluate a checkpoint and print its scores."""
    segmenter = Segmenter.load(args.checkpoint, args.engine, args.device)
    complete(segmenter, args)
    dataset = open_for(segmenter, args)
    is_averaged = args.flip or args.scales != (1.0,)
    if is_averaged:
        segmenter = AveragedSegmenter(segmenter, args.scales, args.flip)
    if dataset.shortfall():
        print(f"{dataset.shortfall()}, and goes on with them", file=sys.stderr)
    save = None
    if args.save_predictions:
        save = saver(dataset, DATASETS[args.dataset].root(args.data), args.save_predictions)
    start = time.perf_counter()
    matrix, confidences = evaluate(segmenter, dataset, args.stride, args.limit, each=save)
    seconds = time.perf_counter() - start
    matrix.check_labelled()
    report = describe(matrix, dataset, segmenter, args.stride, len(confidences), seconds)
    if args.json:
        whole = {"checkpoint": segmenter.source, **report, "others": args.others}
        if is_averaged:
            whole |= {"scales": args.scales, "flip": args.flip}
        print(json.dumps(whole, allow_nan=False))
        return 0
    print(matrix.table())
    print(
        "{dataset} {split}, {images} photos in {seconds} s, stride {stride}, {engine}\n"
        "{protocol}".format(**report)
    )
    side, below = report["inference_size"], report["absent_below"]
    told = f"photos are seen at {side} pixels" if side else "photos are seen at their own size"
    if is_averaged:
        told += f", times {', '.join(f'{scale:g}' for scale in args.scales)}, averaged"
        told += " with their mirror images" if args.flip else ""
    if below:
        told += f"; a class that is nowhere {below:.0%} probable is left out"
    print(told)
    if "official" in report:
        official = report["official"]
        print(
            f"{official['protocol']}: mIoU {100 * official['mean_iou']:.1f}, pixel accuracy "
            f"{100 * official['pixel_accuracy']:.1f}, score {100 * official['score']:.1f}"
        )
    return 0
