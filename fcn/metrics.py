"""One confusion matrix, and everything that is read off it.

The convention: rows are labels, columns are predictions, pixels labelled ``IGNORE_INDEX`` do not
count. A matrix is filled over a whole split and divided once at the end; averaging IoU over
pictures or batches gives another number. The four scores are those of Long, Shelhamer and
Darrell (CVPR 2015), section 5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InputError

IGNORE_INDEX = 255


class ConfusionMatrix:
    """Counts of (label, prediction) pairs over any number of pictures.

    Args:
        classes: Names in label order; their number is the matrix's size.

    Example:
        >>> matrix = ConfusionMatrix(["sky", "road"])
        >>> matrix.update(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]))
        >>> matrix.counts.tolist(), matrix.mean_iou
        ([[1, 1], [0, 1]], 0.5)
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.counts = np.zeros((len(self.classes),) * 2, dtype=np.int64)

    def update(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Count one picture, or a batch of them.

        Args:
            labels: Integers of any shape, in [0, num_classes) or ``IGNORE_INDEX``.
            predictions: Integers of the same shape, in [0, num_classes).

        Raises:
            ValueError: If the shapes differ or a value is outside its range.
        """
        if labels.shape != predictions.shape:
            raise ValueError(f"labels are {labels.shape} but predictions {predictions.shape}")
        size = len(self.classes)
        counted = labels != IGNORE_INDEX
        rows, columns = labels[counted], predictions[counted]
        for name, values in (("label", rows), ("prediction", columns)):
            if values.size and not 0 <= values.min() <= values.max() < size:
                found = f"{values.min()} to {values.max()}"
                raise ValueError(f"{name} values are {found}, but there are {size} classes")
        cells = rows.astype(np.uint16) * np.uint16(size) + columns.astype(np.uint16)
        self.counts += np.bincount(cells, minlength=size**2).reshape(size, size)

    def _union(self) -> np.ndarray:
        return self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts)

    def check_labelled(self) -> None:
        """Insist that there is something to score.

        Raises:
            InputError: If no pixel that was counted has a label.
        """
        if not self.counts.any():
            raise InputError("No pixel of these masks has a class, all are ignored: no score.")

    def _iou(self) -> np.ndarray:
        """IoU by class, float64; nan where a class neither occurs nor is predicted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.diag(self.counts) / self._union()

    @property
    def per_class_iou(self) -> dict[str, float | None]:
        """IoU in [0, 1] by class name; None for a class that neither occurs nor is predicted."""
        return {
            name: None if np.isnan(iou) else float(iou)
            for name, iou in zip(self.classes, self._iou(), strict=True)
        }

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur or are predicted; 0 for an empty matrix.

        IoU is the pixels labelled and predicted as a class, by those that are either.
        """
        iou = self._iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else 0.0

    @property
    def mean_iou_of_labelled(self) -> float:
        """Mean over the classes that occur alone; 0 if none does.

        For choices made on part of a split: there one pixel of a class that none of its photos
        shows would cost as much as losing a class, and the other classes lose that pixel anyway.
        """
        iou = self._iou()[self.counts.sum(1) > 0]
        return float(iou.mean()) if iou.size else 0.0

    @property
    def official_mean_iou(self) -> float:
        """Mean IoU over all classes, absent ones counted as 0: Scene Parsing's own protocol."""
        return float(np.nan_to_num(self._iou()).mean())

    @property
    def pixel_accuracy(self) -> float:
        """Share of the counted pixels whose prediction is right."""
        return float(np.diag(self.counts).sum() / max(self.counts.sum(), 1))

    @property
    def mean_accuracy(self) -> float:
        """Share of each class's own pixels that are right, averaged over classes that occur."""
        totals = self.counts.sum(1)
        occurs = totals > 0
        return (
            float((np.diag(self.counts)[occurs] / totals[occurs]).mean()) if occurs.any() else 0.0
        )

    @property
    def fw_iou(self) -> float:
        """IoU weighted by how often each class occurs."""
        weights = self.counts.sum(1) / max(self.counts.sum(), 1)
        return float((weights * np.nan_to_num(self._iou())).sum())

    def summary(self) -> dict[str, Any]:
        """All scores as plain JSON types, fractions of 1."""
        return {
            "mean_iou": self.mean_iou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "fw_iou": self.fw_iou,
            "per_class_iou": self.per_class_iou,
            "confusion": self.counts.tolist(),
            "classes": list(self.classes),
        }

    def table(self) -> str:
        """Per-class IoU, accuracy and share of the labels, in per cent, for a terminal."""
        totals = self.counts.sum(1)
        width = max(map(len, (*self.classes, "mean")))
        lines = [f"{'class':{width}}    IoU   acc.  pixels"]
        for index, (name, iou) in enumerate(self.per_class_iou.items()):
            accuracy = self.counts[index, index] / totals[index] if totals[index] else None
            share = totals[index] / max(totals.sum(), 1)
            iou_text, accuracy_text = (
                f"{'-' if one is None else f'{100 * one:.1f}':>6}" for one in (iou, accuracy)
            )
            lines.append(f"{name:{width}} {iou_text} {accuracy_text} {100 * share:6.1f}%")
        lines.append(f"{'mean':{width}} {100 * self.mean_iou:6.1f} {100 * self.mean_accuracy:6.1f}")
        lines.append(
            f"pixel accuracy {100 * self.pixel_accuracy:.1f}, fwIoU {100 * self.fw_iou:.1f}"
        )
        return "\n".join(lines)
