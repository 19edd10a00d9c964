"""What is chosen on the validation split after training: how a network is served.

A network trained on small photos is lost on large ones, so the size at which it sees them is chosen
by mean IoU. Its probabilities are too sure of themselves, so its logits are divided by one
temperature (Guo et al., "On Calibration of Modern Neural Networks", 2017). And in a photo of a few
classes it sees others, so a classifier of whole photos is fitted, on the training split, and
calibrated (see ``presence.py``), and it is chosen how probable it must be that a photo shows a
class for it to be found there: by mean IoU, of which with a background it may cost a little.

The conventions. Size and threshold are chosen by the mean IoU of the classes that the photos show.
The temperature is fitted on every other photo, and the calibration errors reported are those of the
rest; if it is no smaller there than without, the temperature is 1. All else is chosen on all of
them, and in frames of a film the rest are the neighbours.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..data.datasets import SegmentationDataset, spread
from ..evaluation import Scored, describe, evaluate
from ..inference.decision import decide, find_present, softmax, surest
from ..inference.engines import TorchEngine
from ..inference.fusion import add_skips
from ..metrics import IGNORE_INDEX, ConfusionMatrix
from ..presence import Presence, pool
from ..resizing import LARGEST_ENLARGEMENT
from ..segmenter import Segmenter
from ..served import LARGEST_SIZE
from .devices import find_precision

FACTORS = (0.7, 0.85, 1.0, 1.2, 1.4)  # of the size trained at
ABSENT_BELOW = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
# What a threshold may cost in mean IoU, where there is a background for what looks like an absent
# class: most photos of a split show one of its classes, and many that visitors bring do not.
PRICE = 0.01
SHOWN = 0.002  # of a photo's labelled pixels: with more of them it shows a class
TRAINING_PHOTOS = 5000  # that presence is fitted on, evenly spread
PHOTOS = 400  # of the split that are looked at, evenly spread
PIXELS = 1000  # of each of them that the temperature is fitted on
BINS = 15
DOUBTFUL_SHARE = 0.05  # of the validation photos


def fit(
    segmenter: Segmenter,
    train_set: SegmentationDataset,
    dataset: SegmentationDataset,
    size: int,
    progress: bool = True,
) -> dict[str, Any]:
    """Choose how a network is served, and set that in its segmenter.

    Args:
        segmenter: Whose network it is.
        train_set: The training split, for presence.
        dataset: The validation split, for all else.
        size: Long side in pixels that photos were scaled to in training.
        progress: Whether to show a bar on stderr.

    Returns:
        What was chosen, in plain JSON types: ``inference_size``, ``temperature`` and
        ``absent_below`` as ``config.json`` has them, mean IoU by size and by ``absent_below``, and
        the expected calibration error: without and with the temperature, of all classes, and as
        served, with those left out that are absent.
    """
    engine = segmenter._engine
    if isinstance(engine, TorchEngine) and engine.gpu is None:
        engine.bf16 = find_precision("auto") == "bf16"  # half the time, where a CPU has it
    photos, scores = spread(len(dataset), PHOTOS), {}
    segmenter.absent_below = 0.0
    # Photos are enlarged only so far: sizes beyond are one and the same.
    longest = max((max(dataset.read(index)[0].size) for index in photos), default=size)
    most = min(round(LARGEST_ENLARGEMENT * longest), LARGEST_SIZE)  # or it could not be served
    for one in sorted({min(round(factor * size), most) for factor in FACTORS}):
        segmenter.inference_size = one
        matrix, _ = evaluate(segmenter, dataset, indices=photos, progress=progress)
        scores[one] = matrix
    segmenter.inference_size = max(scores, key=lambda one: scores[one].mean_iou_of_labelled)
    report: dict[str, Any] = {"photos": len(photos)}
    if isinstance(engine, TorchEngine):
        report["training_photos"] = fit_presence(segmenter, engine, train_set, progress)
    fitted, held_out = (
        sample_logits(segmenter, dataset, chosen) for chosen in (photos[::2], photos[1::2])
    )
    segmenter.temperature = fit_temperature(*fitted)
    before, after = (temperature_error(*held_out, t) for t in (1.0, segmenter.temperature))
    if after >= before:
        segmenter.temperature, after = 1.0, before
    if isinstance(engine, TorchEngine):
        calibrate_presence(segmenter, engine, dataset, photos)
    by_absence = score_absence(segmenter, dataset, photos)
    of_labelled = {one: matrix.mean_iou_of_labelled for one, matrix in by_absence.items()}
    segmenter.absent_below = choose_absence(of_labelled, segmenter.background is not None)
    served = served_error(segmenter, dataset, photos[1::2])
    if isinstance(engine, TorchEngine):
        engine.bf16 = False
    return report | {
        "mean_iou_by_size": {str(size): matrix.mean_iou for size, matrix in scores.items()},
        "inference_size": segmenter.inference_size,
        "temperature": segmenter.temperature,
        "mean_iou_by_absent_below": {
            str(one): matrix.mean_iou for one, matrix in by_absence.items()
        },
        "absent_below": segmenter.absent_below,
        "calibration_error": {"before": before, "after": after, "served": served},
    }


def fit_presence(
    segmenter: Segmenter, engine: TorchEngine, train_set: SegmentationDataset, progress: bool
) -> int:
    """Give a network the classifier of whole photos, in place of one that it may have.

    Args:
        segmenter: Whose size photos are seen at.
        engine: Its engine.
        train_set: The training split.
        progress: Whether to show a bar on stderr.

    Returns:
        How many photos it rests on.
    """
    pooled, shown = [], []
    bar = tqdm(
        spread(len(train_set), TRAINING_PHOTOS),
        desc="which classes a photo shows",
        unit="photo",
        file=sys.stderr,
        mininterval=0.1 if sys.stderr.isatty() else 30,
        disable=not progress,
    )
    engine.model.eval()
    for index in bar:
        photo, labels = train_set.read(index)
        if (labels == IGNORE_INDEX).all():
            continue
        with engine.running():
            features = engine.model.features(engine.images(np.array(segmenter.resize(photo))))
            pooled.append(pool(features).cpu())
        shown.append(find_shown(labels, len(segmenter.classes)))
    engine.model.presence = None
    if not pooled:
        return 0
    presence = Presence(len(segmenter.classes))
    presence.fit(torch.cat(pooled), torch.stack(shown).float())
    engine.model.presence = presence.to(engine.model.mean.device)
    return len(pooled)


def find_shown(labels: np.ndarray, num_classes: int) -> Tensor:
    """Whether a photo with (H, W) labels, some of them known, shows each class."""
    known = labels[labels != IGNORE_INDEX]
    counts = np.bincount(known, minlength=num_classes)
    return torch.from_numpy(counts > SHOWN * known.size)


def calibrate_presence(
    segmenter: Segmenter, engine: TorchEngine, dataset: SegmentationDataset, photos: Sequence[int]
) -> None:
    """Calibrate a network's presence, if it has it, by photos of the validation split.

    Args:
        segmenter: With its size and its temperature.
        engine: Its engine.
        dataset: The validation split.
        photos: Which of its photos.
    """
    presence = engine.model.presence
    if presence is None:
        return
    logits, highest, shown = [], [], []
    for index in photos:
        photo, labels = dataset.read(index)
        if (labels == IGNORE_INDEX).all():
            continue
        maps = segmenter.maps(photo)
        scores = add_skips(maps, segmenter.kernels, segmenter.stride)
        highest.append(torch.from_numpy(surest(scores, segmenter.temperature)))
        logits.append(torch.from_numpy(maps["presence"]))
        shown.append(find_shown(labels, len(segmenter.classes)))
    if shown:
        presence.cpu().calibrate(*map(torch.stack, (logits, highest, shown)))
    # With the values that a checkpoint keeps.
    engine.model.presence = presence.half().float().to(engine.model.mean.device)


def choose_absence(by_absence: dict[float, float], has_background: bool) -> float:
    """The threshold of the best mean IoU, or with a background the highest at that price."""
    best = max(by_absence.values())
    if not has_background:
        return next(one for one, score in by_absence.items() if score == best)
    return max(one for one, score in by_absence.items() if score >= best - PRICE)


def score_absence(
    segmenter: Segmenter, dataset: SegmentationDataset, photos: Sequence[int]
) -> dict[float, ConfusionMatrix]:
    """Score the photos by ``absent_below``, from one run of the network."""
    matrices = {one: ConfusionMatrix(dataset.classes) for one in ABSENT_BELOW}
    temperature, background = segmenter.temperature, segmenter.background
    for index in photos:
        photo, labels = dataset.read(index)
        scores = segmenter.scores(photo)
        sure = surest(scores, temperature)
        found: dict[bytes, np.ndarray] = {}
        for absent_below, matrix in matrices.items():
            present = find_present(sure, absent_below, background)
            key = present.tobytes()  # most thresholds leave the same classes
            if key not in found:
                found[key], _ = decide(scores, photo.size, temperature, present, background)
            matrix.update(labels, found[key])
    return matrices


def describe_fitted(
    segmenter: Segmenter,
    dataset: SegmentationDataset,
    fitted: dict[str, Any],
    scored: dict[int, Scored],
) -> tuple[dict[str, Any], float]:
    """Report what was fitted and its scores.

    Args:
        segmenter: With the fitted values set.
        dataset: The split that was scored.
        fitted: What ``fit`` gave.
        scored: What ``evaluate_strides`` gave at ``trained_strides``.

    Returns:
        ``metrics.json``, and the ``doubt_below`` of ``config.json``.
    """
    strides = {
        str(stride): {"mean_iou": matrix.mean_iou, "pixel_accuracy": matrix.pixel_accuracy}
        for stride, (matrix, _) in scored.items()
    }
    matrix, confidences = scored[segmenter.stride]
    metrics = describe(matrix, dataset, segmenter)
    return metrics | {"strides": strides, "fitted": fitted}, find_doubt(confidences)


def find_doubt(confidences: Sequence[float]) -> float:
    """The mean confidence that one photo in twenty stays under: below it is doubt."""
    return float(np.quantile(confidences, DOUBTFUL_SHARE)) if confidences else 0.0


def sample_logits(
    segmenter: Segmenter, dataset: SegmentationDataset, photos: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of labelled pixels, up to ``PIXELS`` a photo.

    Returns:
        Logits (M, C) float32 at the photo's own size, undivided, and labels (M,) uint8.
    """
    # Of no photos there are none.
    logits = [np.empty((0, len(segmenter.classes)), np.float32)]
    labels = [np.empty(0, np.uint8)]
    for index in photos:
        photo, label = dataset.read(index)
        rows, columns = draw_pixels(label, index)
        maps = (Image.fromarray(one) for one in np.asarray(segmenter.scores(photo)))
        enlarged = (one.resize(photo.size, Image.Resampling.BILINEAR) for one in maps)
        logits.append(np.stack([np.asarray(one)[rows, columns] for one in enlarged], 1))
        labels.append(label[rows, columns])
    return np.concatenate(logits), np.concatenate(labels)


def draw_pixels(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of labelled pixels of (H, W) labels, up to ``PIXELS``."""
    rows, columns = np.nonzero(labels != IGNORE_INDEX)
    some = np.random.default_rng(seed).permutation(len(rows))[:PIXELS]
    return rows[some], columns[some]


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least cross-entropy, between 1/16 and 16.

    The cross-entropy is convex in b = 1 / temperature, with the derivative: mean logit under the
    softmax less that of the label. So its zero is found by halving.

    Args:
        logits: (M, C) float32.
        labels: (M,) integers in [0, C).
    """
    if not len(labels):
        return 1.0
    right = logits[np.arange(len(labels)), labels]
    low, high = -math.log(16), math.log(16)
    for _ in range(20):
        middle = (low + high) / 2
        expected = (softmax(math.exp(middle) * logits, 1) * logits).sum(1)
        low, high = (low, middle) if (expected - right).mean() > 0 else (middle, high)
    return round(math.exp(-(low + high) / 2), 4)


def temperature_error(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """The calibration error of a temperature.

    Args:
        logits: (M, C) float32.
        labels: (M,) integers in [0, C).
        temperature: Logits are divided by it.
    """
    probabilities = softmax(logits / temperature, 1)
    return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels)


def served_error(
    segmenter: Segmenter, dataset: SegmentationDataset, photos: Sequence[int]
) -> float:
    """The calibration error of what is served, of the pixels that ``sample_logits`` draws."""
    confidences, right = [np.empty(0, np.float32)], [np.empty(0, bool)]
    for index in photos:
        photo, labels = dataset.read(index)
        rows, columns = draw_pixels(labels, index)
        found, confidence = segmenter.decide(segmenter.scores(photo), photo.size)
        confidences.append(confidence[rows, columns])
        right.append((found == labels)[rows, columns])
    return calibration_error(np.concatenate(confidences), np.concatenate(right))


def calibration_error(confidences: np.ndarray, is_right: np.ndarray) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, over 15 bins.

    Args:
        confidences: (M,) in [0, 1].
        is_right: (M,) whether what they are about is.

    Returns:
        A fraction of 1; 0 for no pixels.
    """
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    surplus = np.bincount(bins, confidences - is_right, BINS)
    return float(np.abs(surplus).sum() / max(len(bins), 1))
