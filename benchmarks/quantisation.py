"""What ways to quantise cost in accuracy: ``python benchmarks/quantisation.py --data DIR``.

The checkpoint is exported anew in each way, calibrated on the same training images, and scored on
the validation split that it was chosen on. What saturates depends on the processor: without
VNNI, sums of products with weights of 8 bits may.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import bundled, report
from onnxruntime.quantization import CalibrationMethod

from fcn.checkpoint import CONFIG_NAME, WEIGHTS_NAME, read_json, read_recipe
from fcn.data.datasets import open_recipe
from fcn.evaluation import evaluate
from fcn.export import calibration_images, export_checkpoint
from fcn.segmenter import Segmenter

PERCENTILE = {"calibrate_method": CalibrationMethod.Percentile}
ONE_BY_ONE = {"CalibStridedMinMax": 1}
WAYS: dict[str, dict[str, Any]] = {
    "as it is exported": {},
    "percentile 99.999": {
        **PERCENTILE,
        "extra_options": {**ONE_BY_ONE, "CalibPercentile": 99.999},
    },
    "percentile 99.99": {**PERCENTILE, "extra_options": {**ONE_BY_ONE, "CalibPercentile": 99.99}},
    "weights of 8 bits": {"reduce_range": False},
    "one scale for all channels": {"per_channel": False},
    "score layers in int8 too": {"nodes_to_exclude": []},
}


def measure(model: Path, data: Path, count: int, limit: int) -> list[dict[str, Any]]:
    """A row for each way."""
    train_set, val_set = open_recipe(read_recipe(model), data)
    size = read_json(model, CONFIG_NAME)["inference_size"]
    images = calibration_images(train_set, size, count)
    rows = []
    for name, choices in WAYS.items():
        with tempfile.TemporaryDirectory() as place:
            for file in (CONFIG_NAME, WEIGHTS_NAME):
                shutil.copy(model / file, place)
            with contextlib.redirect_stdout(sys.stderr):  # calibration talks
                exported = export_checkpoint(Path(place), images, **choices)
            matrix, _ = evaluate(Segmenter.load(place, "onnx"), val_set, limit=limit)
            megabytes = exported.stat().st_size / 1e6
        scores = {"mean_iou": matrix.mean_iou, "pixel_accuracy": matrix.pixel_accuracy}
        rows.append({"name": name, **scores, "file_mb": megabytes})
        print(f"{name}: {matrix.mean_iou:.2%} mIoU", file=sys.stderr)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled(), help="checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=int, default=32, help="to calibrate on")
    parser.add_argument("--limit", type=int, default=0, help="photos to score; 0 for all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    report(measure(args.model, args.data, args.images, args.limit), args.json)


if __name__ == "__main__":
    main()
