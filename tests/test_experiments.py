"""The layout of CamVid in which a drive is held out."""

from pathlib import Path

import pytest

from docs.experiments import hold_out


def test_a_drive_is_held_out_of_the_training_split(tmp_path: Path) -> None:
    frames = {"train": ("A_1", "A_2", "B_1"), "val": ("A_3",)}
    for split, stems in frames.items():
        for kind, ending in (("", ".jpg"), ("annot", ".png")):
            folder = tmp_path / "CamVid" / (split + kind)
            folder.mkdir(parents=True)
            for stem in stems:
                (folder / (stem + ending)).write_text(stem)
    out = tmp_path / "out"
    for _ in range(2):  # a series that goes on finds the links there
        hold_out(tmp_path, "B", out)
    found = {
        split: {file.stem: file.read_text() for file in (out / "CamVid" / split).iterdir()}
        for split in ("train", "trainannot", "val", "valannot", "seen", "seenannot")
    }
    rest, unseen, seen = {"A_1": "A_1", "A_2": "A_2"}, {"B_1": "B_1"}, {"A_3": "A_3"}
    assert list(found.values()) == [rest, rest, unseen, unseen, seen, seen]
    with pytest.raises(SystemExit, match="'C'; there are A, B"):
        hold_out(tmp_path, "C", out)
