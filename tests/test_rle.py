"""Run lengths against a decoder written from COCO's description of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fcn.demo import rle


def decode(mask: dict) -> np.ndarray:
    """Runs of outside and inside in turn, down the columns."""
    height, width = mask["size"]
    flat = np.concatenate([np.full(count, i % 2, bool) for i, count in enumerate(mask["counts"])])
    return flat.reshape(width, height).T


@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 3))
)
def test_masks_come_back(labels):
    masks = rle.encode(labels)
    assert sorted(masks) == np.unique(labels).tolist()
    for one, mask in masks.items():
        np.testing.assert_array_equal(decode(mask), labels == one)
        assert all(isinstance(count, int) for count in mask["counts"])
        assert 0 not in mask["counts"][1:]


def test_counts_start_with_the_pixels_outside():
    masks = rle.encode(np.array([[7, 0], [7, 0]], np.uint8))
    assert masks[7] == {"size": [2, 2], "counts": [0, 2, 2]}
    assert masks[0] == {"size": [2, 2], "counts": [2, 2]}
