"""Sweeping: what is old or too much goes, what is young or belongs to the page stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import pytest

from fcn import checkpoint
from fcn.demo import sweep
from fcn.demo.photo_input import offer


def test_old_files_go_and_with_the_next_sweep_their_folders(tmp_path: Path) -> None:
    for name in ("a/one.png", "a/b/two.png", "c/kept.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    kept = [str(tmp_path / "c/kept.png")]
    sweep.sweep(tmp_path, kept, time.time() - 60)
    assert len(list(tmp_path.rglob("*.png"))) == 3  # nothing is a minute old
    sweep.sweep(tmp_path, kept, time.time() + 1)
    sweep.sweep(tmp_path, kept, time.time() + 1)
    assert {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*")} == {
        "c",
        "c/kept.png",
    }


def test_an_empty_folder_goes_last_of_all(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    sweep.sweep(tmp_path, [], time.time() - 60)
    assert (tmp_path / "made").is_dir()  # a file may be about to come into it
    sweep.sweep(tmp_path / "none", [], time.time())  # a folder that is gone is no fault
    sweep.sweep(tmp_path, [], time.time() + 1)
    assert list(tmp_path.iterdir()) == []


def fill(folder: Path) -> list[Path]:
    """Four files of 100 bytes, from old to young; their names and folders say nothing of it."""
    files = [folder / name for name in ("c/1.png", "a/2.png", "d/3.png", "b/4.png")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(bytes(100))
        time.sleep(0.02)  # or the clock of the file system may not have moved
    return files


@pytest.mark.parametrize(
    ("most", "left"), [(400, [0, 1, 2, 3]), (399, [0, 2, 3]), (250, [0, 3]), (0, [0])]
)
def test_the_oldest_go_where_all_are_too_much(tmp_path: Path, most: int, left: list[int]) -> None:
    files = fill(tmp_path)
    sweep.trim(tmp_path, [str(files[0])], most)  # the oldest is the page's
    assert [i for i, file in enumerate(files) if file.exists()] == left


def test_a_file_that_cannot_be_deleted_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    real = Path.unlink

    def refuse(file: Path) -> None:
        if file.name == "a.png":
            raise PermissionError(file)
        real(file)

    monkeypatch.setattr(Path, "unlink", refuse)
    sweep.sweep(tmp_path, [], time.time() + 1)
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


def test_what_comes_after_the_start_goes_and_gradio_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(sweep, "AGE", 0.2)
    folder = sweep.take_folder()
    assert folder.parent == tmp_path
    with gr.Blocks() as page:
        pass
    built = Path(offer(b"of the page", "a.png")["path"])
    sweep.start(page, folder)
    sent = Path(offer(b"an answer", "b.png")["path"])
    assert sent.is_relative_to(folder)
    page.upload_file_set |= {str(sent), str(built)}
    deadline = time.monotonic() + 30
    while sent.parent.exists() or str(sent) in page.upload_file_set:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert built.read_bytes() == b"of the page"
    assert page.upload_file_set == {str(built)}


def test_what_is_too_much_goes_before_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(sweep, "SWEEPS", sweep.AGE / 0.1)
    monkeypatch.setattr(sweep, "MOST", 25)
    folder = sweep.take_folder()
    built = Path(offer(b"of the page", "a.png")["path"])
    with gr.Blocks() as page:
        pass
    sweep.start(page, folder)
    sent = Path(offer(b"an answer", "b.png")["path"])
    young = Path(offer(b"another one", "c.png")["path"])
    deadline = time.monotonic() + 30
    while sent.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert built.exists() and young.exists()


def test_what_a_killed_server_left_goes_when_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    code = "import os; from fcn.demo import sweep; sweep.take_folder(); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    mine = sweep.take_folder()
    assert not left.exists()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    # Who still runs keeps its own.
    assert {mine, sweep.take_folder()} == set(tmp_path.iterdir())


def test_a_training_run_is_not_taken_for_what_a_server_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    run = tmp_path / f"{sweep.PREFIX}try"
    with checkpoint.claimed(run):
        (run / "report.html").write_text("of hours")
    sweep.take_folder()
    assert (run / "report.html").exists()


def test_at_the_end_nothing_is_left(tmp_path: Path) -> None:
    code = "from fcn.demo import sweep; (sweep.take_folder() / 'a.png').write_bytes(b'')"
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
