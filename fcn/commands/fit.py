"""``python -m fcn fit``: choose on a validation split how a network is served."""

import argparse
import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from ..checkpoint import check_writable, read_json, read_recipe, resolve, synchronise, write_json
from ..data.datasets import open_recipe
from ..errors import InputError
from .flags import add_folder_flag

HELP = "choose size, temperature and when a class is absent"
TEXT = """\
Choose how a checkpoint is served, on the validation split that it was chosen on: the size at which
it sees photos, one temperature that calibrates its confidences, and a threshold: how sure it must
be of a class to find it in a photo. Size and threshold are those of the best mean IoU; where there
is a background, the threshold is the highest that costs at most one point of it. Which classes a
photo shows at all is learnt from whole photos of the training split and calibrated on the
validation split. Then the checkpoint is scored at every stride, its int8 file, if any, is made and
scored anew, and config.json, metrics.json, plots and card are written.
`train.py` does the same at the end of a run; this is for one that was stopped before its end.
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
    from .. import saving
    from ..evaluation import evaluate_strides
    from ..export import add_int8
    from ..inference.engines import ONNX_NAME, TorchEngine
    from ..segmenter import Segmenter
    from ..training.fitting import describe_fitted, fit
    from ..training.report import write_report

    folder = resolve(args.checkpoint)
    check_writable(folder)
    recipe = read_recipe(folder)
    is_told = "history" in read_json(folder, "training.json")
    if not (is_told and recipe.keys() >= {"dataset", "split", "classes", "others"}):
        raise InputError(f"{folder} does not say on what it was trained.")
    if scored_on := read_json(folder, "metrics.json").get("split"):
        recipe["val_split"] = scored_on
    train_set, val_set = open_recipe(recipe, args.data)
    engine = TorchEngine.load(folder, None)
    segmenter, model = Segmenter(engine, str(folder)), engine.model
    if has_int8 := (folder / ONNX_NAME).is_file():
        Segmenter.load(folder, "onnx")  # where it is refused, now and not after minutes
    fitted = fit(segmenter, train_set, val_set, recipe.get("size") or val_set.size)
    scored = evaluate_strides(segmenter, val_set, segmenter.trained_strides)
    metrics, doubt_below = describe_fitted(segmenter, val_set, fitted, scored)
    model.inference_size, model.temperature = segmenter.inference_size, segmenter.temperature
    model.absent_below, model.doubt_below = segmenter.absent_below, doubt_below
    # In a copy: what is stopped or fills the disk before all is ready spoils nothing.
    with TemporaryDirectory(prefix=".fit-", dir=folder) as place:
        draft = Path(place, folder.resolve().name)
        draft.mkdir()
        for file in folder.iterdir():
            if file.is_file():  # a clone from the Hub has .git beside them
                shutil.copy2(file, draft)
        saving.write(draft, model)
        write_json(draft / "metrics.json", metrics)
        if has_int8:
            add_int8(draft, train_set, val_set)  # writes the report, too
        else:
            write_report(draft)
        for file in draft.iterdir():
            synchronise(file)
        for file in draft.iterdir():
            os.replace(file, folder / file.name)
    print(json.dumps(fitted))
    return 0
