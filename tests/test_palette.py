"""Colours: golden values, agreement with the data sets' own tables, and safety for all eyes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.palette import CAMVID, MAX_CLASSES, SCENE_PARSING, VOC, distinct, safe_colors

# How the three kinds of colour blindness see linear RGB: Machado, Oliveira and Fernandes 2009.
EYES = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def as_seen(colors: np.ndarray, eye: str) -> np.ndarray:
    """CIE Lab of 8-bit colours (N, 3), as seen by an eye."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.transpose(EYES[eye]), 0, 1) @ TO_XYZ.T / (0.95047, 1, 1.08883)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize(
    ("palette", "classes", "first", "last"),
    [
        (CAMVID, 11, ("Sky", (128, 128, 128)), ("Bicyclist", (0, 128, 192))),
        (VOC, 21, ("background", (0, 0, 0)), ("tvmonitor", (0, 64, 128))),
        (SCENE_PARSING, 150, ("wall", (120, 120, 120)), ("flag", (92, 0, 255))),
    ],
)
def test_golden(palette, classes, first, last):
    assert len(palette) == classes
    assert list(palette.items())[0] == first
    assert list(palette.items())[-1] == last


def test_voc_has_the_devkit_colors():
    colors = [VOC[name] for name in ("aeroplane", "cat", "dog", "person", "sheep")]
    assert colors == [(128, 0, 0), (64, 0, 0), (64, 0, 128), (192, 128, 128), (128, 64, 0)]


def test_scene_parsing_agrees_with_its_files(real_data: Path):
    folder = real_data / "ADEChallengeData2016"
    rows = list(csv.reader((folder / "color150.csv").open()))[1:]
    assert list(SCENE_PARSING.values()) == [tuple(map(int, row[1:4])) for row in rows]
    lines = (folder / "objectInfo150.txt").read_text().splitlines()[1:]
    first_names = [line.split("\t")[4].split(",")[0].strip() for line in lines]
    assert list(SCENE_PARSING) == first_names


def test_voc_agrees_with_a_real_mask(real_data: Path):
    mask = next((real_data / "VOCdevkit/VOC2012/SegmentationClass").glob("20*.png"))
    stored = Image.open(mask).getpalette()
    assert [tuple(stored[3 * i : 3 * i + 3]) for i in range(21)] == list(VOC.values())


def test_distinct_colors_are_never_equal():
    for count in range(MAX_CLASSES + 1):
        colors = distinct(count)
        assert len(set(colors)) == count
        assert all(0 <= value <= 255 for color in colors for value in color)


@pytest.mark.parametrize("eye", EYES)
def test_twelve_colors_are_told_apart_by_all_eyes(eye: str):
    seen = as_seen(np.array(distinct(12)), eye)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() >= 24


@pytest.mark.parametrize("count", [-1, MAX_CLASSES + 1])
def test_distinct_refuses_impossible_counts(count: int):
    with pytest.raises(ValueError, match=str(count)):
        distinct(count)


def test_safe_colors_leave_the_background_black_and_uncounted():
    classes = ["background", *(f"class {i}" for i in range(12))]
    assert safe_colors(classes) == [(0, 0, 0), *distinct(12)]
    assert safe_colors(["cat", "background", "dog"]) == [distinct(2)[0], (0, 0, 0), distinct(2)[1]]


def test_too_many_classes_have_no_safe_colors():
    assert safe_colors([f"class {i}" for i in range(13)]) is None
