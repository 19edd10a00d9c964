"""Augmentation: any photo fills any crop, and its labels stay aligned with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from fcn.data.transforms import GREY, Augmentation, augment
from fcn.resizing import network_size

SIDES = st.integers(1, 90)
CROPS = st.tuples(st.integers(2, 60), st.integers(2, 60))


def apply(labels: np.ndarray, seed: int, **arguments: object) -> tuple[np.ndarray, np.ndarray]:
    """Augment a photo that repeats its labels in all channels, and the labels."""
    mask = Image.fromarray(labels.astype(np.uint8))
    pair = Image.merge("RGB", [mask] * 3), mask
    image, mask = augment(pair, Augmentation(**arguments), np.random.default_rng(seed))
    return np.asarray(image), np.asarray(mask)


@settings(max_examples=40)
@given(SIDES, SIDES, CROPS, st.integers(4, 90), st.integers(0, 99))
def test_any_photo_fills_any_crop(height, width, crop_size, size, seed):
    labels = np.random.default_rng(seed).choice([0, 100], (height, width))  # never blended
    image, mask = apply(labels, seed, crop_size=crop_size, size=size)
    assert image.shape == (*crop_size, 3) and mask.shape == crop_size
    assert set(np.unique(mask).tolist()) <= {*labels.ravel().tolist(), 255}
    assert (mask != 255).any()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [0.7, 0.83, 1.0, 1.7, 2.6])
@pytest.mark.parametrize("seed", range(4))
def test_image_and_labels_stay_aligned(axis, scale, seed):
    """On a ramp, a label is the nearest pixel's and the image interpolates: half a pixel apart."""
    labels = np.indices((120, 120))[axis] * 2
    image, mask = apply(
        labels, seed, crop_size=(90, 90), size=120, scale=(scale, scale), flip=True, color=0
    )
    padding = Image.fromarray((mask == 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(7))
    inside = np.array(padding) == 0
    inside[:3] = inside[-3:] = inside[:, :3] = inside[:, -3:] = False
    assert inside.sum() > 1000
    apart = (image[..., 0].astype(int) - mask)[inside] / 2
    assert abs(apart).max() <= 0.5 + 0.3  # and rounding to 8 bits
    assert abs(apart.mean()) < 0.15


def test_a_small_photo_is_enlarged_as_far_as_it_is_when_served():
    _, mask = apply(np.zeros((30, 40)), 0, crop_size=(100, 100), size=480, scale=(1, 1))
    width, height = network_size((40, 30), 480)
    assert (mask == 0).sum() == width * height < 100 * 100


def test_at_scale_one_a_crop_is_a_piece_of_the_photo():
    labels = np.random.default_rng(0).integers(0, 200, (40, 50))
    _, mask = apply(labels, 3, crop_size=(8, 9), size=50, scale=(1, 1), flip=False)
    windows = np.lib.stride_tricks.sliding_window_view(labels, (8, 9))
    assert (windows == mask).all((-1, -2)).sum() == 1


@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 30), (7, 60)])
def test_the_long_side_becomes_size_and_the_rest_is_padding(height, width):
    image, mask = apply(
        np.zeros((height, width)), 0, crop_size=(150, 150), size=120, scale=(1, 1), color=0.4
    )
    rows, columns = np.nonzero(mask == 0)
    assert np.ptp(rows) + 1 == height * 2
    assert np.ptp(columns) + 1 == width * 2
    assert len(rows) == height * width * 4
    padding = image[mask == 255]
    assert len(padding) and (padding == GREY).all()  # whatever the colours are changed to


def test_scales_spread_over_their_range():
    labels, widths = np.zeros((40, 40)), []
    for seed in range(100):
        _, mask = apply(labels, seed, crop_size=(80, 80), size=40, scale=(0.5, 2.0), color=0)
        widths.append((mask == 0).any(0).sum() / 40)
    assert 0.5 <= min(widths) < 0.6 and 1.8 < max(widths) <= 2
    assert 35 < sum(width < 1 for width in widths) < 65


@pytest.mark.parametrize("flip", [True, False])
def test_flip_mirrors_about_every_other_sample(flip):
    labels = np.tile(np.arange(50), (50, 1))
    samples = [
        apply(labels, seed, crop_size=(50, 50), size=50, scale=(1, 1), flip=flip, color=0)[1]
        for seed in range(40)
    ]
    mirrored = sum(mask[0, 0] > mask[0, -1] for mask in samples)
    assert (10 < mirrored < 30) if flip else mirrored == 0


def test_color_changes_the_image_and_not_the_labels():
    labels = np.random.default_rng(0).integers(0, 200, (40, 50))
    plain, colored = (
        apply(labels, 1, crop_size=(40, 50), size=50, color=color) for color in (0, 0.4)
    )
    np.testing.assert_array_equal(plain[1], colored[1])
    assert abs(plain[0].astype(int) - colored[0]).mean() > 5
