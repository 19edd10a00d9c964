"""The album: what is kept, what is drawn, and what a collapsed network looks like."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES, build_tiny
from PIL import Image

from fcn.data.datasets import open_dataset
from fcn.errors import InputError
from fcn.palette import distinct
from fcn.segmenter import Segmenter
from fcn.training.album import Album, Picture, choose_pictures, paint, shrink

PALETTE = distinct(len(CLASSES))


@pytest.fixture
def pictures() -> list[Picture]:
    train_set, val_set = (open_dataset("shapes", "", split) for split in ("train", "val"))
    return choose_pictures(train_set, val_set, [])


def test_looks_are_kept_and_found_again(tmp_path: Path, pictures: list[Picture]) -> None:
    segmenter = Segmenter.of(build_tiny(CLASSES), "tiny")
    first = Album(tmp_path, pictures, CLASSES, PALETTE)
    assert first.strip("val") is None
    for step in (10, 20, 100):
        share, name = first.look(segmenter, step)
        assert 1 / len(CLASSES) <= share <= 1
        assert name in CLASSES
    first.file(100, pictures[0]).unlink()  # killed in the middle of a look
    again = Album(tmp_path, pictures, CLASSES, PALETTE)
    assert (again.steps(pictures[:2]), again.steps(pictures[2:])) == ([10, 20], [10, 20, 100])
    titles = [axes.get_title() for axes in again.strip("train").axes]
    assert titles[:4] == ["photo", "label", "step 10", "step 20"]
    assert again.strip("watched") is None


def test_kept_labels_are_what_the_network_said(tmp_path: Path, pictures: list[Picture]) -> None:
    segmenter = Segmenter.of(build_tiny(CLASSES), "tiny")
    Album(tmp_path, pictures, CLASSES, PALETTE).look(segmenter, 10)
    with Image.open(tmp_path / f"0000010-{pictures[2].key}.png") as kept:
        assert np.array_equal(np.array(kept), segmenter(pictures[2].photo).labels)


@pytest.mark.parametrize("size", [(48, 36), (36, 48)])
def test_another_picture_is_never_shown_with_labels_that_were_kept(
    size: tuple[int, int], tmp_path: Path
) -> None:
    segmenter = Segmenter.of(build_tiny(CLASSES), "tiny")
    for color in ("red", "blue"):
        watched = Picture("watched", Image.new("RGB", size, color), None)
        album = Album(tmp_path, [watched], CLASSES, PALETTE)
        assert album.strip("watched") is None
        album.look(segmenter, 10)
        size = size[::-1]
    assert len(list(tmp_path.iterdir())) == 2
    of_others = {tmp_path / "holiday-1.png", tmp_path / "0000010-cat.png"}
    for file in of_others:
        file.touch()
    assert album.steps(album.pictures) == [10]
    album.clear()
    assert album.strip("watched") is None
    assert set(tmp_path.iterdir()) == of_others


def test_a_strip_has_few_columns_however_long_the_run(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    album = Album(tmp_path, pictures[:1], CLASSES, PALETTE)
    for step in range(1, 30):
        Image.fromarray(np.zeros((72, 96), np.uint8)).save(album.file(step, pictures[0]))
    titles = [axes.get_title() for axes in album.strip("train").axes]
    assert (len(titles), titles[2], titles[-1]) == (9, "step 1", "step 29")


def test_labels_shrink_without_mixing() -> None:
    labels = np.zeros((900, 600), np.uint8)
    labels[300:] = 255
    small = shrink(Picture("val", Image.new("RGB", (600, 900)), labels))
    assert small.photo.size == (213, 320)
    assert small.labels.shape == (320, 213)
    assert set(np.unique(small.labels)) == {0, 255}


def test_what_is_ignored_stays_the_photo() -> None:
    photo = Image.new("RGB", (2, 1), (200, 100, 50))
    shown = np.array(paint(photo, np.array([[0, 255]], np.uint8), ["cat"], [(0, 0, 255)]))
    assert shown[0, 1].tolist() == [200, 100, 50]
    assert shown[0, 0].tolist() == [40, 20, 214]


def test_a_watched_file_must_be_a_photo(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    dataset = open_dataset("shapes", "", "val")
    for name in ("text.jpg", "none.jpg"):
        with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / name))} "):
            choose_pictures(dataset, dataset, [str(tmp_path / name)])
