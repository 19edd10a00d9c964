"""Checkpoints: what is written is what is read, old or new and never half."""

import os
from pathlib import Path

import pytest

from fcn import checkpoint
from fcn.errors import InputError


def fill_with(text: str):
    def fill(folder: Path) -> None:
        (folder / "config.json").write_text(text)

    return fill


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"dataset": "\\ud800"}')
    with pytest.raises(InputError, match=r"metrics\.json is not JSON.*surrogates"):
        checkpoint.read_json(tmp_path, "metrics.json")


def test_a_run_a_pointer_and_a_folder_mean_the_same_checkpoint(tmp_path: Path) -> None:
    folder = checkpoint.publish(tmp_path, "best", 10, fill_with("{}"))
    assert {checkpoint.resolve(path) for path in (tmp_path, tmp_path / "best", folder)} == {folder}


def test_publishing_keeps_the_one_before_and_no_more(tmp_path: Path) -> None:
    folders = [checkpoint.publish(tmp_path, "best", n, fill_with(f"{n}")) for n in (1, 2, 2, 3)]
    assert len(set(folders)) == 4
    assert [folder.is_dir() for folder in folders] == [False, False, True, True]
    assert (checkpoint.resolve(tmp_path) / "config.json").read_text() == "3"


def test_publishing_takes_nothing_away_that_it_did_not_write(tmp_path: Path) -> None:
    kept = tmp_path / "best-of-all"
    checkpoint.publish(tmp_path, "best", 1, fill_with("1")).rename(kept)
    (tmp_path / "best-notes.txt").write_text("mine")
    for step in (2, 3, 4):
        checkpoint.publish(tmp_path, "best", step, fill_with(f"{step}"))
    assert kept.is_dir() and (tmp_path / "best-notes.txt").is_file()
    assert not (tmp_path / "best-000002").exists()


def test_one_process_at_a_time_has_a_run(tmp_path: Path) -> None:
    for _ in range(2):
        with checkpoint.claimed(tmp_path / "run"):
            pass
    with (
        checkpoint.claimed(tmp_path / "run"),
        pytest.raises(InputError, match="Another process trains in .*run now"),
        checkpoint.claimed(tmp_path / "run"),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.check_writable(tmp_path / "some/run")
    monkeypatch.chdir(tmp_path)
    checkpoint.check_writable(Path("run"))
    assert not any(tmp_path.iterdir())  # nothing is made yet
    (tmp_path / "file").touch()
    for name in ("file", "file/run"):
        with pytest.raises(InputError, match=rf"{name} cannot be written: .*file is a file"):
            checkpoint.check_writable(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda *asked: False)  # who is root may write anywhere
    with pytest.raises(InputError, match="run cannot be written: .* is read-only"):
        checkpoint.check_writable(tmp_path / "run")


def test_a_write_that_dies_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    good = checkpoint.publish(tmp_path, "best", 1, fill_with("good"))

    def die(folder: Path) -> None:
        (folder / "config.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.publish(tmp_path, "best", 2, die)
    assert checkpoint.resolve(tmp_path) == good
    assert not list(tmp_path.glob("best-*2"))
    assert checkpoint.publish(tmp_path, "best", 2, fill_with("again")).is_dir()
    assert (checkpoint.resolve(tmp_path) / "config.json").read_text() == "again"


@pytest.mark.parametrize("name", ["nowhere", "empty", "file.txt"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("some text")
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoint.resolve(tmp_path / name)


def test_json_documents(tmp_path: Path) -> None:
    assert checkpoint.read_json(tmp_path, "metrics.json") == {}
    checkpoint.write_json(tmp_path / "metrics.json", {"mean_iou": 0.5, "name": "é"})
    assert checkpoint.read_json(tmp_path, "metrics.json") == {"mean_iou": 0.5, "name": "é"}
    for text in ("[1]", "{"):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(InputError, match=r"metrics\.json"):
            checkpoint.read_json(tmp_path, "metrics.json")
