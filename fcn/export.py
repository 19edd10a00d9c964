"""A checkpoint's network as int8 ONNX: the file ``model_int8.onnx`` that the onnx engine runs.

Convolutions and poolings are quantised, weights by channel, activations by what calibration
pictures brought forth. The score layers stay in float: they take no time, and it is they that
decide. The convention: the file is the network from a uint8 picture (h, w, 3) of any size to its
three score maps, with the deconvolutions' kernels beside them (``fusion.py`` has the rest); its
metadata tell which weights it was made from.
"""

import copy
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from torch import Tensor, nn
from torch.export import Dim

from . import checkpoint, saving
from .data.datasets import SegmentationDataset, spread
from .errors import InputError
from .evaluation import describe, evaluate
from .inference.engines import CONFIG_KEY, ONNX_NAME, WEIGHTS_KEY, fingerprint
from .inference.fusion import KERNELS, MAPS
from .model import FCN
from .resizing import network_size
from .segmenter import Segmenter
from .training.report import write_report

IMAGES = 32  # to calibrate on


class Maps(nn.Module):
    """A network from a uint8 picture to ``MAPS``, its ``KERNELS``, and presence if it has it."""

    mean: Tensor

    def __init__(self, model: FCN) -> None:
        super().__init__()
        self.backbone, self.head = copy.deepcopy(model.backbone), model.head
        self.presence = model.presence
        # ONNX Runtime's fast convolution takes channels by fours, so the picture gets one of zeros.
        self.register_buffer("mean", F.pad(255 * model.mean, (0, 0, 0, 0, 0, 1)))  # (4, 1, 1)
        # Dividing the first weights is the same as dividing every pixel.
        first = self.backbone.convolutions()[0].get_parameter("weight")
        first.data = F.pad(first.data / (255 * model.std), (0, 0, 0, 0, 0, 1))  # (64, 4, 3, 3)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Score a picture (h, w, 3)."""
        images = F.pad(image, (0, 1)).permute(2, 0, 1)[None].float()  # (1, 4, h, w)
        features = self.backbone(images - self.mean)
        maps = self.head.scores(features)
        kernels = [self.head.get_parameter(f"{name}.weight").clone() for name in KERNELS]
        presence = [] if self.presence is None else [self.presence(features)]
        return *(maps[name] for name in MAPS), *kernels, *presence


class Pictures(CalibrationDataReader):
    """Gives the quantiser pictures in the ranges that it asks for."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self.images, self.range = images, iter(range(0))

    def __len__(self) -> int:
        return len(self.images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Choose the pictures that come next."""
        self.range = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next picture, or None after the last of the range."""
        index = next(self.range, None)
        return None if index is None else {"image": self.images[index]}


def calibration_images(
    dataset: SegmentationDataset, inference_size: int, count: int = IMAGES
) -> list[np.ndarray]:
    """Pictures spread evenly over a split, as the network sees them when it serves.

    Args:
        dataset: The training split.
        inference_size: The checkpoint's.
        count: How many, or all if there are fewer.

    Returns:
        (h, w, 3) uint8 RGB each.
    """
    images = []
    for index in spread(len(dataset), count):
        photo, _ = dataset.read(index)
        size = network_size(photo.size, inference_size)
        images.append(np.array(photo.resize(size, Image.Resampling.BILINEAR)))
    return images


def export_checkpoint(folder: Path, images: Sequence[np.ndarray], **choices: Any) -> Path:
    """Write ``model_int8.onnx`` into a checkpoint folder; it is there whole or not at all.

    Args:
        folder: The checkpoint folder.
        images: What to calibrate on, as ``calibration_images`` gives it; at least one.
        choices: Other ways to quantise, see ``quantise``.

    Returns:
        The file.

    Raises:
        InputError: If there is no picture, or the checkpoint is damaged.
    """
    if not images:
        raise InputError("An export needs at least one picture to calibrate on.")
    model = saving.load(folder)
    made_from = {
        WEIGHTS_KEY: fingerprint(folder / checkpoint.WEIGHTS_NAME),
        CONFIG_KEY: json.dumps(model.config),
    }
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        draft, prepared = Path(place, ONNX_NAME), Path(place, "float.onnx")
        onnx.save(trace(model), draft)
        # The sizes are symbols in the file already; a second inference of them fails.
        quant_pre_process(draft, prepared, skip_symbolic_shape=True)
        quantise(prepared, draft, images, **choices)
        quantised = onnx.load(draft)
        onnx.helper.set_model_props(quantised, made_from)
        onnx.save(quantised, draft)
        checkpoint.synchronise(draft)
        os.replace(draft, folder / ONNX_NAME)
    return folder / ONNX_NAME


def trace(model: FCN) -> onnx.ModelProto:
    """A network in evaluation mode as float ONNX with dynamic height and width."""
    # It reports at length about itself, and that the kernels are results.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    program = torch.onnx.export(
        Maps(model).eval().requires_grad_(False),
        (torch.zeros(97, 129, 3, dtype=torch.uint8),),
        dynamo=True,
        dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},),
        input_names=["image"],
        output_names=[*MAPS, *KERNELS, *(["presence"] if model.presence else [])],
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    # Where each part stood in whose source is no business of the file's readers.
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    return proto


def quantise(source: Path, target: Path, images: Sequence[np.ndarray], **choices: Any) -> None:
    """Quantise a float ONNX file statically.

    Args:
        source: The file.
        target: What is written.
        images: See ``export_checkpoint``.
        choices: Arguments of ``quantize_static`` in place of ours, which
            ``benchmarks/quantisation.py`` compares.
    """
    nodes = onnx.load(source, load_external_data=False).graph.node
    scores = [node.name for node in nodes if node.op_type == "Conv" and node.output[0] in MAPS]
    settings = {
        "op_types_to_quantize": ["Conv", "Relu", "MaxPool"],
        "nodes_to_exclude": scores,
        "per_channel": True,
        "reduce_range": True,  # 7 bits: sums of products saturate without VNNI; amx.py wants it too
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "calibrate_method": CalibrationMethod.MinMax,
        # One picture at a time: the activations of all at once would take gigabytes.
        "extra_options": {"CalibStridedMinMax": 1},
    }
    quantize_static(source, target, Pictures(images), **{**settings, **choices})


def add_int8(
    folder: Path,
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    count: int = IMAGES,
) -> dict[str, Any]:
    """Give a checkpoint its int8 file, and keep the file's scores in ``metrics.json`` and the card.

    Args:
        folder: The checkpoint folder.
        train_set: What to calibrate on.
        val_set: What to score on.
        count: Pictures to calibrate on.

    Returns:
        What is kept as ``int8``, see ``evaluation.describe``.

    Raises:
        InputError: If the checkpoint is damaged.
    """
    size = checkpoint.read_json(folder, checkpoint.CONFIG_NAME).get("inference_size", 0)
    # In a copy, or an end half way would leave the new file with the scores of the old one.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as place:
        draft = Path(place)
        for name in (checkpoint.CONFIG_NAME, checkpoint.WEIGHTS_NAME, "metrics.json"):
            if (folder / name).is_file():
                shutil.copy2(folder / name, draft)
        export_checkpoint(draft, calibration_images(train_set, size, count))
        report = score_int8(draft, val_set)
        for name in (ONNX_NAME, "metrics.json"):
            os.replace(draft / name, folder / name)
    # A run that was stopped before it was scored has no scores of its own to report.
    is_scored = "per_class_iou" in checkpoint.read_json(folder, "metrics.json")
    if is_scored and "history" in checkpoint.read_json(folder, "training.json"):
        write_report(folder)
    return report


def score_int8(folder: Path, dataset: SegmentationDataset) -> dict[str, Any]:
    """Evaluate a checkpoint's int8 file on a split, and keep that in ``metrics.json``.

    Returns:
        What is kept there as ``int8``, see ``evaluation.describe``.
    """
    segmenter = Segmenter.load(folder, "onnx")
    matrix, confidences = evaluate(segmenter, dataset)
    report = describe(matrix, dataset, segmenter, images=len(confidences))
    metrics = checkpoint.read_json(folder, "metrics.json")
    checkpoint.write_json(folder / "metrics.json", {**metrics, "int8": report})
    return report
