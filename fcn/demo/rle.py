"""Run lengths of masks, as COCO writes them.

The convention is COCO's uncompressed one: ``{"size": [height, width], "counts": [...]}``, counts
of pixels down the columns, first of those outside the class (0 if its first pixel is inside), then
of those inside, and so on. ``web/save.js`` writes the same.
"""

from typing import Any

import numpy as np


def encode(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """Write the mask of every class that occurs as run lengths.

    Args:
        labels: (H, W) class ids, at least one pixel.

    Returns:
        Class id to its mask, in plain JSON types.

    >>> encode(np.array([[0, 0, 7], [0, 7, 7]]))[7]
    {'size': [2, 3], 'counts': [3, 3]}
    """
    column_by_column = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(column_by_column, prepend=-1))  # of runs of one class
    stops = np.append(starts[1:], labels.size)
    ids = column_by_column[starts]
    return {
        int(one): {
            "size": list(labels.shape),
            "counts": _counts(starts[ids == one], stops[ids == one], labels.size),
        }
        for one in np.unique(ids)
    }


def _counts(starts: np.ndarray, stops: np.ndarray, size: int) -> list[int]:
    bounds = np.column_stack([starts, stops]).ravel()
    end = [] if stops[-1] == size else [size]
    return np.diff(np.append(bounds, end), prepend=0).astype(int).tolist()
