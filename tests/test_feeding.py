"""What a run is fed: data that would spoil it are refused in one sentence with the fix."""

import os
from pathlib import Path

import numpy as np
import pytest
from layouts import pair_paths, write_pair
from PIL import Image
from torch.utils.data import DataLoader

from fcn.errors import InputError
from fcn.training import feeding
from fcn.training.config import TrainConfig
from fcn.training.feeding import leave_signals_to_main, open_splits

SPLITS = ("training", "validation")


def write(data: Path, row: list[int]) -> None:
    """Three Scene Parsing pairs in each split, with these stored values."""
    for split in SPLITS:
        for number in range(3):
            write_pair("scene_parsing", data, split, f"{number:08}", [row * 10] * 30)


def refusal(data: Path) -> str:
    """The one line that a run on a folder ends with."""
    with pytest.raises(InputError) as raised:
        open_splits(TrainConfig(data=str(data)))
    (line,) = str(raised.value).splitlines()
    return line


def test_a_sample_of_whole_pairs_is_fed_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [0, 1, 150])
    assert [len(split) for split in open_splits(TrainConfig(data=str(tmp_path)))] == [3, 3]
    assert "found 3 of the 20210 pairs" in capsys.readouterr().err


def test_what_is_odd_about_the_data_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [0, 1, 150])
    open_splits(TrainConfig(data=str(tmp_path), split="validation"))
    assert "warning: validation: is trained on and scored on" in capsys.readouterr().err


def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "count_cores", lambda: 32)
    counts = []
    for processes in ("1", "4", "32"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        counts.append(feeding.count_workers())
    assert counts == [16, 8, 1]


def test_photos_are_repeated_by_name(tmp_path: Path) -> None:
    write(tmp_path, [0, 1, 150])
    repeat = ["*=2", "*1=5"]
    train_set, val_set = open_splits(TrainConfig(data=str(tmp_path), repeat=repeat))
    stems = [train_set.pairs[index][0].stem[-1] for index in range(len(train_set))]
    assert "".join(stems) == "001111122" and len(val_set) == 3


@pytest.mark.parametrize("wish", ["cat_*=2", "*", "=3", "*=0", "*=-1", "*=two"])
def test_a_repeat_that_cannot_be_meant_is_refused(tmp_path: Path, wish: str) -> None:
    write(tmp_path, [0, 1, 150])
    with pytest.raises(InputError, match="--repeat .*(PATTERN=N|no photo)"):
        open_splits(TrainConfig(data=str(tmp_path), repeat=[wish]))


@pytest.mark.parametrize(
    ("row", "fix"), [([1, 2, 151], "subtract 1 (and 5 more)"), ([0, 149, 255], "add 1, and 255")]
)
def test_labels_off_by_one_are_refused(tmp_path: Path, row: list[int], fix: str) -> None:
    write(tmp_path, row)
    assert fix in refusal(tmp_path)


def test_coloured_masks_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [1, 2, 150])
    _, mask = pair_paths("scene_parsing", tmp_path, "training", "00000001")
    colors = np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)
    Image.fromarray(colors).save(mask)
    line = refusal(tmp_path)
    assert "annotations/training/00000001.png: is RGB" in line
    assert "ADEChallengeData2016.zip" in line


def test_an_archive_extracted_by_half_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [1, 2, 150])
    photo, _ = pair_paths("scene_parsing", tmp_path, "training", "00000002")
    photo.unlink()
    line = refusal(tmp_path)
    assert "has 2 photos and 3 masks of 20210 each" in line
    assert "extract it again" in line


def test_signals_to_a_group_do_not_reach_a_loader() -> None:
    loader = DataLoader(
        [0],
        num_workers=1,
        worker_init_fn=leave_signals_to_main,
        collate_fn=lambda _: os.getpgrp(),
    )
    assert list(loader) != [os.getpgrp()]
