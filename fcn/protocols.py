"""Predictions as files: how they are stored, and how each data set's own protocol scores them.

One convention: a prediction is a one-channel PNG named by its photo's stem, and its values are
those that the data set stores in its masks: 1 to 150 in Scene Parsing, 0 to 20 in VOC, 0 to 10 in
CamVid. The scores are sums over the whole split; a class that neither occurs nor is predicted
counts as 0 in the mean, which is over all classes of the data set.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from .checkpoint import check_writable
from .data.datasets import DATASETS, SegmentationDataset
from .data.pairs import read_mask
from .errors import InputError
from .evaluation import EachPhoto
from .metrics import ConfusionMatrix
from .segmentation import Segmentation

NO_CLASS = ""  # a class for predicted values that are none: always wrong


def saver(dataset: SegmentationDataset, root: Path, folder: Path) -> EachPhoto:
    """Prepare a folder for the predictions on a split.

    Args:
        dataset: the split.
        root: the data set's own folder.
        folder: where the PNGs go; made if need be.

    Returns:
        What writes one: takes the photo's index, what was found in it, and its labels (not used).

    Raises:
        InputError: if the folder cannot be written or lies in the data set's, or the data set has
            no number for one of the classes: the background that takes in those left out.
    """
    source = DATASETS[dataset.name]
    names = list(source.palette(root))
    for name in dataset.classes:
        if name not in names:
            raise InputError(
                f"{dataset.name} has no number for {name!r}, so that it cannot be saved; "
                "choose --others ignore or no --classes"
            )
    if not source.is_drawn:
        # Other splits lie in the root too; and those of this one may be links to elsewhere.
        for own in (root, *(file.parent for file in dataset.pairs[0])):
            if folder.resolve().is_relative_to(own.resolve()):
                raise InputError(f"{folder} lies in the data set itself; save to another folder")
    stored = np.array([source.first + names.index(name) for name in dataset.classes], np.uint8)
    colors = np.zeros((256, 3), np.uint8)
    colors[stored] = dataset.palette
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def save(index: int, found: Segmentation, labels: np.ndarray) -> None:
        image = Image.fromarray(stored[found.labels])
        image.putpalette(colors.ravel().tolist())
        image.save(folder / f"{dataset.pairs[index][0].stem}.png")

    return save


@dataclass(frozen=True)
class Scores:
    """What a folder of predictions scores.

    Attributes:
        dataset: the split.
        matrix: labels against predictions; ``NO_CLASS`` is the last column.
        predictions: how many there were.
        resized: how many of them had another size than their labels.
    """

    dataset: SegmentationDataset
    matrix: ConfusionMatrix
    predictions: int
    resized: int

    @property
    def per_class_iou(self) -> dict[str, float | None]:
        """IoU in [0, 1] by class name; None for a class that neither occurs nor is predicted."""
        ious = self.matrix.per_class_iou
        return {name: ious[name] for name in self.dataset.classes}

    @property
    def protocol(self) -> str:
        """The rules in a few words."""
        source = DATASETS[self.dataset.name]
        return (
            f"{self.dataset.name}'s protocol: at the size of the labels, whose "
            f"{' and '.join(map(str, source.ignored))} do not count; intersections and unions "
            f"summed over the split; mean over all {len(self.dataset.classes)} classes, those "
            "that neither occur nor are predicted as 0"
        )

    def summary(self) -> dict[str, Any]:
        """All scores as plain JSON types, fractions of 1."""
        ious = self.per_class_iou
        occurring = [iou for iou in ious.values() if iou is not None]
        mean, accuracy = sum(occurring) / len(ious), self.matrix.pixel_accuracy
        report = {"mean_iou": mean, "pixel_accuracy": accuracy}
        if self.dataset.name == "scene_parsing":
            report["score"] = (mean + accuracy) / 2
        return {
            **report,
            "mean_iou_of_occurring": sum(occurring) / max(len(occurring), 1),
            "per_class_iou": ious,
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "pairs": len(self.dataset),
            "predictions": self.predictions,
            "protocol": self.protocol,
        }

    def doubts(self) -> list[str]:
        """Say what makes the scores questionable, a sentence each."""
        doubts = []
        missing = len(self.dataset) - self.predictions
        if missing:
            doubts.append(f"{missing} of {len(self.dataset)} pairs have no prediction")
        if self.resized:
            doubts.append(f"{self.resized} predictions were resized to their labels, by nearest")
        counts = self.matrix.counts
        if counts[:, -1].any():
            share = counts[:, -1].sum() / counts.sum()
            doubts.append(f"{share:.1%} of the labelled pixels are predicted as no class")
        for offset, word in ((-1, "add 1 to"), (1, "subtract 1 from")):
            if np.trace(counts, offset) > np.trace(counts):
                first = DATASETS[self.dataset.name].first
                doubts.append(
                    f"the predictions look off by one: {word} them, as the first class, "
                    f"{self.dataset.classes[0]}, is {first}"
                )
        return doubts


def score(dataset: SegmentationDataset, folder: Path) -> Scores:
    """Score the predictions in a folder against the labels of a split.

    A prediction of another size is brought to its label's by nearest neighbour. Predictions where
    the label is ignored do not count at all. A predicted value that is no class is wrong and
    belongs to no class's union but the label's, as in the devkit of Scene Parsing.

    Raises:
        InputError: if there are none, or one is damaged or holds colours instead of numbers.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that holds the predictions")
    given = {path.stem: path for path in folder.iterdir() if path.suffix.lower() == ".png"}
    stems = [photo.stem for photo, _ in dataset.pairs]
    chosen = [index for index, stem in enumerate(stems) if stem in given]
    if not chosen:
        raise InputError(
            f"{folder} has no prediction; they are PNGs named like the photos, as {stems[0]}.png"
        )
    size, resized = len(dataset.classes), 0
    matrix = ConfusionMatrix((*dataset.classes, NO_CLASS))
    bar = tqdm(
        chosen,
        desc=f"{dataset.name} {dataset.split}",
        unit="prediction",
        mininterval=0.1 if sys.stderr.isatty() else 30,
    )
    for index in bar:
        labels, values = dataset.read_labels(index), read_mask(given[stems[index]])
        if values.shape != labels.shape:
            image = Image.fromarray(values).resize(labels.shape[::-1], Image.Resampling.NEAREST)
            values, resized = np.asarray(image), resized + 1
        matrix.update(labels, np.minimum(dataset.table[values], size))
    matrix.check_labelled()
    return Scores(dataset, matrix, len(chosen), resized)
