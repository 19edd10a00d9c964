"""What the numbers and pictures of a checkpoint are called, in its card and on the page.

The convention: numbers are fractions of 1 in a checkpoint's files and per cent in words.
"""

from collections.abc import Mapping

TITLES = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "fw_iou": "frequency weighted IoU",
}
PICTURES = {
    "progress.png": "The same photos as the network learned",
    "curves.png": "Loss and validation scores over the steps",
    "per_class_iou.png": "IoU of each class",
    "confusion.png": "What each class's pixels were called",
}


def percent(score: float | None) -> str:
    """A fraction as per cent; a dash for what is not known."""
    return "-" if score is None else f"{100 * score:.1f} %"


def score_line(metrics: Mapping[str, object]) -> str:
    """How good weights are, in a few words; empty if nobody knows.

    >>> score_line({"mean_iou": 0.5, "dataset": "camvid", "split": "val"})
    '50.0 % mIoU on camvid val'
    """
    score = metrics.get("mean_iou")
    if not isinstance(score, float):
        return ""
    where = f"{metrics.get('dataset', '?')} {metrics.get('split', '')}".strip()
    return f"{percent(score)} mIoU on {where[:100]}"  # who wrote the file may have written a book
