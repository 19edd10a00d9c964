"""``python -m fcn export``: quantise a checkpoint to int8 for fast answers on a CPU."""

import argparse
import sys

from ..checkpoint import WEIGHTS_NAME, check_writable, read_recipe, resolve
from ..data.datasets import DATASETS, open_recipe
from .flags import add_folder_flag, choose_dataset, positive

HELP = "quantise a checkpoint for fast answers on a CPU"
TEXT = """\
Write model_int8.onnx into a checkpoint: the same network in 8 bits, which ONNX Runtime runs several
times as fast on a CPU. It is calibrated on training images and then scored on the validation split
of the data set that the checkpoint was trained on; the scores are kept in metrics.json as "int8".
`train.py` does the same at the end of a run.
"""
EXAMPLES = """\
examples:
  python -m fcn export checkpoints/street --data DIR
  python -m fcn export runs/voc --data DIR --images 100
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``export``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint folder or run")
    parser.add_argument(
        "--dataset", choices=DATASETS, help="which data set (default: the one it was trained on)"
    )
    add_folder_flag(parser)
    parser.add_argument(
        "--images", type=positive, default=32, metavar="N", help="calibration images (default: 32)"
    )


def run(args: argparse.Namespace) -> int:
    """Export, score and print both engines' scores and the sizes."""
    from ..evaluation import check_classes
    from ..export import add_int8
    from ..inference.engines import ONNX_NAME
    from ..segmenter import Segmenter

    folder = resolve(args.checkpoint)
    check_writable(folder)
    trained = read_recipe(folder)
    name = choose_dataset(args.dataset, trained, folder)
    segmenter = Segmenter.load(folder, "torch", "cpu")
    if name != trained.get("dataset"):
        others = "ignore" if segmenter.background is None else "background"
        trained = {"dataset": name, "classes": segmenter.classes, "others": others}
    train_set, val_set = open_recipe(trained, args.data)
    check_classes(segmenter.classes, val_set.classes)
    print(f"Calibrating on {args.images} images of {train_set.split}.", file=sys.stderr)
    report = add_int8(folder, train_set, val_set, args.images)
    for title, scores in (("torch", segmenter.metrics), ("int8", report)):
        if "pixel_accuracy" in scores:
            print(
                "{:<6} {mean_iou:6.2%} mIoU  {pixel_accuracy:6.2%} pixel accuracy"
                "  on {dataset} {split}".format(title, **scores)
            )
    for file in (WEIGHTS_NAME, ONNX_NAME):
        print(f"{file} {(folder / file).stat().st_size / 1e6:.1f} MB")
    return 0
