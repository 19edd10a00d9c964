"""``python -m fcn fit``: choose on a validation split how a network is served."""

import argparse
import json

from ..checkpoint import CONFIG_NAME, read_json, resolve, write_json
from ..datasets import open_dataset
from ..engines import ONNX_NAME
from ..errors import InputError
from ..evaluation import evaluate_strides
from ..export import score_int8
from ..fitting import describe_fitted, fit, supervised_strides
from ..report import write_report
from ..segmenter import Segmenter
from .flags import add_folder_flag

HELP = "choose size, temperature and when a class is absent, on val"
TEXT = """\
Choose the size at which the network sees photos, one temperature that makes its confidences true,
and how sure it must be somewhere in a photo of a class that is found there: all on the validation
split that the checkpoint was chosen on, size and sureness by mean IoU. Then score the checkpoint at
every stride, and its int8 file if there is one, and write config.json, metrics.json, plots and card
anew. `train.py` does the same at the end of a run; this is for one that was stopped before its end.
"""
EXAMPLES = """\
examples:
  python -m fcn fit runs/camvid --data DIR
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define the command's flags."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint folder or run")
    add_folder_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Fit, score and write; prints what was chosen."""
    folder = resolve(args.checkpoint)
    metrics, config = (read_json(folder, name) for name in ("metrics.json", CONFIG_NAME))
    options = read_json(folder, "training.json").get("config", {})
    if not metrics or not options:
        raise InputError(f"{folder} does not say on what it was trained and scored.")
    kept = options["classes"], options["others"]
    val_set = open_dataset(options["dataset"], args.data, metrics["split"], *kept)
    segmenter = Segmenter.load(folder, "torch")
    if has_int8 := (folder / ONNX_NAME).is_file():
        Segmenter.load(folder, "onnx")  # where it is refused, now and not after minutes
    fitted = fit(segmenter, val_set, options["size"] or val_set.size)
    scored = evaluate_strides(segmenter, val_set, supervised_strides(segmenter))
    metrics, doubt_below = describe_fitted(segmenter, val_set, fitted, scored)
    config |= {
        "inference_size": fitted.inference_size,
        "temperature": fitted.temperature,
        "absent_below": fitted.absent_below,
        "doubt_below": doubt_below,
    }
    write_json(folder / CONFIG_NAME, config)
    write_json(folder / "metrics.json", metrics)
    if has_int8:
        score_int8(folder, val_set)
    write_report(folder)
    print(json.dumps(fitted.report))
    return 0
