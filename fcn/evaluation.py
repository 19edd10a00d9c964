"""Scoring a checkpoint on a data set: the number that is published.

The convention: a photo, as it is stored, goes through the same ``Segmenter`` that serves it, its
labels are compared at their own resolution, each image counts once, and one confusion matrix is
filled over the whole split. Every report names its protocol, data set, split, engine and stride,
the size at which photos were seen and how probable a class had to be to be found.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from .data.datasets import SegmentationDataset
from .errors import InputError
from .metrics import ConfusionMatrix
from .segmentation import Segmentation
from .segmenter import Segmenter

EachPhoto = Callable[[int, Segmentation, np.ndarray], None]
PROTOCOL = (
    "label resolution, one confusion matrix over the split, 255 ignored, "
    "mean over classes that occur or are predicted"
)
OFFICIAL_PROTOCOL = "MIT Scene Parsing: mean over all 150 classes, absent ones count as 0"


Scored = tuple[ConfusionMatrix, list[float]]
"""A filled matrix, and the mean confidence of each photo in the order scored."""


def evaluate(
    segmenter: Segmenter,
    dataset: SegmentationDataset,
    stride: int | None = None,
    limit: int = 0,
    progress: bool = True,
    indices: Sequence[int] | None = None,
    each: EachPhoto | None = None,
) -> Scored:
    """Segment the photos of a split and count them against their labels.

    Args:
        segmenter: Whose classes must be those of the data set, in the same order.
        dataset: The split.
        stride: 8, 16, 32, or None for the checkpoint's own.
        limit: Only the first so many photos; 0 for all.
        progress: Whether to show a bar with the mean IoU so far on stderr.
        indices: Which photos, such as one process's part; all if None.
        each: Called for each photo with its index, what was found and its labels (H, W) uint8.

    Raises:
        InputError: If the classes differ, before any photo is read; or a photo is damaged.
    """
    stride = segmenter.stride if stride is None else stride
    indices = (range(len(dataset)) if indices is None else indices)[: limit or None]
    return evaluate_strides(segmenter, dataset, (stride,), progress, indices, each)[stride]


def evaluate_strides(
    segmenter: Segmenter,
    dataset: SegmentationDataset,
    strides: Sequence[int],
    progress: bool = True,
    indices: Sequence[int] | None = None,
    each: EachPhoto | None = None,
) -> dict[int, Scored]:
    """Evaluate at several strides, in one run of the network for each photo.

    Args:
        segmenter: As for ``evaluate``.
        dataset: As for ``evaluate``.
        strides: Some of 8, 16 and 32; the bar and ``each`` are about the last.
        progress: As for ``evaluate``.
        indices: As for ``evaluate``.
        each: As for ``evaluate``.

    Raises:
        InputError: As for ``evaluate``.
    """
    check_classes(segmenter.classes, dataset.classes)
    scored: dict[int, Scored] = {one: (ConfusionMatrix(dataset.classes), []) for one in strides}
    bar = tqdm(
        range(len(dataset)) if indices is None else indices,
        desc=f"{dataset.name} {dataset.split}",
        unit="photo",
        file=sys.stderr,
        mininterval=0.1 if sys.stderr.isatty() else 30,
        disable=not progress,
    )
    for index in bar:
        photo, labels = dataset.read(index)
        found = segmenter.at_strides(photo, strides)
        for stride, (matrix, confidences) in scored.items():
            matrix.update(labels, found[stride].labels)
            confidences.append(found[stride].mean_confidence)
        if each is not None:
            each(index, found[strides[-1]], labels)
        bar.set_postfix_str(f"mIoU {100 * scored[strides[-1]][0].mean_iou:.1f}", refresh=False)
    return scored


def describe(
    matrix: ConfusionMatrix,
    dataset: SegmentationDataset,
    segmenter: Segmenter,
    stride: int | None = None,
    images: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Report a filled matrix: what ``metrics.json`` holds and ``evaluate --json`` prints.

    Args:
        matrix: Over the photos that were scored.
        dataset: Where they came from.
        segmenter: What was scored.
        stride: At which stride; None for the checkpoint's own.
        images: How many photos; None for the whole split.
        seconds: How long it took, if that was measured.

    Returns:
        Plain JSON types; scores are fractions of 1.
    """
    report = {
        **matrix.summary(),
        "dataset": dataset.name,
        "split": dataset.split,
        "images": len(dataset) if images is None else images,
        "engine": segmenter.engine,
        "stride": stride or segmenter.stride,
        "inference_size": segmenter.inference_size,
        "absent_below": segmenter.absent_below,
        "protocol": PROTOCOL,
    }
    if dataset.name == "scene_parsing" and len(matrix.classes) == 150:
        report["official"] = describe_official(matrix)
    if seconds is not None:
        report["seconds"] = round(seconds, 1)
    return report


def describe_official(matrix: ConfusionMatrix) -> dict[str, Any]:
    """Score by the protocol of the Scene Parsing challenge.

    Its own scorer skips pixels labelled 0, "other"; they are 255 here and skipped as well.
    """
    return {
        "mean_iou": matrix.official_mean_iou,
        "pixel_accuracy": matrix.pixel_accuracy,
        "score": (matrix.pixel_accuracy + matrix.official_mean_iou) / 2,
        "protocol": OFFICIAL_PROTOCOL,
    }


def check_classes(known: Sequence[str], scored: Sequence[str]) -> None:
    """Insist that a checkpoint and a data set mean the same by every label.

    Args:
        known: The checkpoint's classes in label order.
        scored: The data set's.

    Raises:
        InputError: If they differ, naming the difference.
    """
    if tuple(known) == tuple(scored):
        return
    differences = [
        f"only the {owner} has {_enumerate([name for name in own if name not in other])}"
        for owner, own, other in (("checkpoint", known, scored), ("data set", scored, known))
        if not set(own) <= set(other)
    ]
    if not differences:
        differences = [f"the checkpoint's order is {_enumerate(known)}"]
    raise InputError(
        f"The checkpoint and the data set differ in their classes: {', and '.join(differences)}. "
        "Choose the data set's with --classes, in the checkpoint's order, and --others."
    )


def _enumerate(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
