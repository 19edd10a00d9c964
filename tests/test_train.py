"""The trainer from its command line: it learns, survives, and says what went wrong."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import train
from fcn import checkpoint, saving
from fcn.data.datasets import open_dataset
from fcn.data.shapes import SHAPES
from fcn.errors import InputError
from fcn.evaluation import evaluate
from fcn.inference.engines import ONNX_NAME
from fcn.segmenter import Segmenter
from fcn.training.config import TrainConfig
from fcn.training.fitting import find_doubt
from fcn.training.progress import Progress
from fcn.training.trainer import Trainer

TINY = (
    "--dataset shapes --backbone-weights none --width 8 --size 32 --crop 32 32 --batch-size 2"
    " --workers 1 --no-export"
)
# The features of the bundled checkpoint, so that shapes are learnt in a minute by what is new and
# VGG's last stage.
LEARN = (
    "--crop 72 96 --batch-size 4 --steps 140 --eval-every 1000 --warmup 10 --width 64 --lr 3e-3"
    " --backbone-lr 2e-4 --frozen-stages 4 --dropout 0 --scale 0.9 1.2 --workers 1"
)


def learn(root: Path, output: Path, *flags: str) -> Segmenter:
    start = ["--init", str(root / "checkpoints" / "street"), "--output", str(output)]
    assert train.main([*LEARN.split(), *start, *flags]) == 0
    return Segmenter.load(output)


def write_shapes(folder: Path, train: int, val: int, is_shuffled: bool = False) -> list[str]:
    """Shapes as a folder data set; shuffled, training masks belong to other pictures.

    Returns:
        The flags to train on it.
    """
    for split, count in (("train", train), ("val", val)):
        data = open_dataset("shapes", folder, split)
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for index in range(count):
            photo, labels = data.read(index)
            owner = (index + 1) % count if is_shuffled and split == "train" else index
            photo.save(folder / split / "images" / f"{index}.png")
            Image.fromarray(labels).save(folder / split / "masks" / f"{owner}.png")
    (folder / "classes.txt").write_text("\n".join(SHAPES))
    return ["--dataset", "folder", "--data", str(folder)]


def test_names_may_be_in_any_alphabet_or_in_none(root: Path, tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", 2, 2)
    (tmp_path / "data" / "classes.txt").write_text("Füchse\nквадрат\n三角\nx\n", "utf-8")
    for file in [*(tmp_path / "data").rglob("1.png")]:
        file.rename(file.with_name(os.fsdecode(b"\xff.png")))  # as archives of old systems have it
    command = [sys.executable, "train.py", *data, *TINY.split()[2:], "--steps", "2"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run")],
        cwd=root,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "F\\xfcchse" in done.stdout
    assert Segmenter.load(tmp_path / "run").classes[2] == "三角"
    assert "三角" in (checkpoint.resolve(tmp_path / "run") / "README.md").read_text("utf-8")


@pytest.fixture
def unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are over with their last step, of which nothing more is asked."""
    monkeypatch.setattr(Trainer, "finish", lambda trainer: None)


def test_shapes_are_learnt_and_then_served(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmenter = learn(root, tmp_path / "run", "--dataset", "shapes")
    told = capsys.readouterr().err
    assert "A step takes 4 crops (processes: 1, passes: 1, crops: 4)." in told
    assert "left for 100 steps, which are 2.0 epochs of 200 images" in told
    assert "--minutes 60" in told
    val_set = open_dataset("shapes", tmp_path, "val")
    matrix, _ = evaluate(segmenter, val_set, progress=False)
    assert matrix.mean_iou >= 0.8
    assert matrix.mean_iou == pytest.approx(segmenter.metrics["mean_iou"])
    assert (checkpoint.resolve(tmp_path / "run") / ONNX_NAME).is_file()
    photo, labels = val_set.read(0)
    assert (segmenter(photo).labels == labels).mean() > 0.9
    kept = [file.stem for file in (tmp_path / "run" / "album").glob("*.png")]
    assert {int(stem.split("-")[0]) for stem in kept} == {10, 20, 50, 100, 140}
    assert len(kept) == 5 * 4


def test_the_time_left_is_told_once_and_without_the_slow_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    accelerator = SimpleNamespace(is_main_process=True, device=torch.device("cpu"))
    progress = Progress()
    # All that the bar asks of a trainer are these three.
    run = SimpleNamespace(progress=progress, train_set=range(200), accelerator=accelerator)
    with train.ProgressBar(TrainConfig(steps=110, batch_size=8), run) as bar:  # type: ignore[arg-type]
        for progress.step in range(10, 111, 10):
            progress.seconds = 100 + progress.step
            bar.show(1.0)
    told = capsys.readouterr().err
    assert told.count("left for") == 1
    assert "About 70 s left for 70 steps, which are 2.8 epochs of 200 images" in told


@pytest.mark.usefixtures("unfinished")
def test_shuffled_labels_teach_nothing(root: Path, tmp_path: Path) -> None:
    flags = write_shapes(tmp_path / "data", 200, 10, is_shuffled=True)
    learnt = learn(root, tmp_path / "run", *flags, "--size", "64", "--crop", "48", "64")
    assert learnt.metrics["mean_iou"] < 0.3


def start(output: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "train.py", *TINY.split(), "--output", str(output), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def wait_for(is_there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not is_there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("unfinished")
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, "--steps", "100000", "--save-minutes", "0.0001")
    wait_for((run / "last").exists, process)
    process.kill()
    process.communicate()
    kept = saving.load_state(checkpoint.follow(run / "last"))["progress"]["step"]
    flags = [*TINY.split(), "--output", str(run), "--resume", "--steps", str(kept + 10)]
    assert train.main(flags) == 0
    history = saving.load_state(checkpoint.follow(run / "last"))["progress"]["history"]
    steps = [entry["step"] for entry in history if "loss" in entry]
    assert steps == sorted(set(steps))
    assert kept in steps
    assert steps[-1] == kept + 10


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_is_saved_first(tmp_path: Path, kind: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(run, "--steps", "100000", "--save-minutes", "0.0001")
    wait_for((run / "last").exists, process)
    process.send_signal(kind)
    time.sleep(0.2)
    if process.poll() is None:
        process.send_signal(kind)  # as a launcher passes on what all have got already
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"--resume goes on from the last checkpoint in {run}" in errors
    assert "Traceback" not in errors


@pytest.fixture
def foreground() -> Iterator[None]:
    """Ctrl-C as it is in a terminal: a shell lets what it starts behind it ignore that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_a_second_signal_is_obeyed_at_once() -> None:
    with train.StopSignal() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the same again
        assert stop.wanted
        stop.since -= 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_run_that_is_stopped_while_it_begins_has_nothing_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(config: TrainConfig) -> None:  # such as Ctrl-C during a download
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "Trainer", stop)
    assert train.main([*TINY.split(), "--output", str(tmp_path / "run")]) == 130
    assert "--resume" not in capsys.readouterr().err


def launch(output: Path, *flags: str) -> subprocess.Popen[str]:
    """A run of two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["train.py", *TINY.split(), *flags, "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    # No more photos than this process fits on; an odd number of them is scored.
    flags = write_shapes(tmp_path / "data", 10, 5)
    flags += ["--dropout", "0", "--precision", "fp32", "--steps", "10"]
    assert train.main([*TINY.split(), *flags, "--output", str(tmp_path / "one")]) == 0
    process = launch(tmp_path / "two", *flags)
    shown, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert errors.count("(processes: 2, passes: 1, crops: 1)") == 1
    assert shown.count("Step 10 on val") == 1
    one, two = (checkpoint.resolve(tmp_path / name) for name in ("one", "two"))
    losses = [
        [entry["loss"] for entry in checkpoint.read_json(run, "training.json")["history"][:-1]]
        for run in (one, two)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    scores = [checkpoint.read_json(run, "metrics.json") for run in (one, two)]
    pixels = [np.sum(score["confusion"]) for score in scores]
    assert pixels[0] == pixels[1]  # each picture is scored once
    assert scores[0]["mean_iou"] == pytest.approx(scores[1]["mean_iou"], abs=0.01)
    found, val_set = Segmenter.load(two), open_dataset("folder", tmp_path / "data", "val")
    every = [found(val_set.read(index)[0]).mean_confidence for index in range(len(val_set))]
    assert found.doubt_below == pytest.approx(find_doubt(every), abs=1e-5)  # of both processes


def find_worker(rank: int, launcher: int) -> int:
    """The process of a rank that a launcher started."""
    for child in psutil.Process(launcher).children(recursive=True):
        if child.environ().get("RANK") == str(rank):
            return child.pid
    raise AssertionError(f"no process has rank {rank}")


def test_a_process_that_dies_ends_the_run_with_a_message(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = launch(run, "--steps", "100000", "--save-minutes", "0.0001")
    wait_for((run / "last").exists, process)
    os.kill(find_worker(1, process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"--resume goes on from the last checkpoint in {run}" in errors
    assert "SIGKILL" in errors  # the launcher says which process it was
    assert saving.load_state(checkpoint.follow(run / "last"))["progress"]["step"] >= 1


def test_a_reader_that_is_killed_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, "--steps", "100000", "--save-minutes", "0.0001")
    wait_for((run / "last").exists, process)
    for reader in psutil.Process(process.pid).children():
        reader.kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Lower --workers (now 1)" in errors
    assert "Traceback" not in errors


@pytest.mark.usefixtures("unfinished")
def test_minutes_are_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LOG_EVERY", 10**6)  # so many steps of a CPU may take days
    flags = [*TINY.split(), "--steps", "1000000", "--minutes", "0.02"]
    assert train.main([*flags, "--output", str(tmp_path / "run")]) == 0
    progress = checkpoint.read_json(checkpoint.resolve(tmp_path / "run"), "training.json")
    assert 1.2 <= progress["seconds"] < 60  # of training; what comes after has no budget


def test_a_run_that_failed_at_its_end_is_only_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = tmp_path / "run"
    flags = [*TINY.split(), "--steps", "10", "--output", str(run)]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "finish", fail)
        assert train.main(flags) == 1
    monkeypatch.setattr("fcn.training.report.describe_hardware", lambda *_: "another machine")
    assert train.main([*flags, "--resume"]) == 0
    assert (run / "report.html").is_file()
    told = checkpoint.read_json(checkpoint.resolve(run), "training.json")
    assert told["step"] == 10
    assert "another machine" not in told["hardware"]  # as no step was taken there


def test_what_goes_wrong_on_val_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(trainer: Trainer) -> None:
        raise InputError("a photo of val is damaged")

    monkeypatch.setattr(Trainer, "validate", fail)
    run = tmp_path / "run"
    assert train.main([*TINY.split(), "--steps", "2", "--output", str(run)]) == 1
    assert capsys.readouterr().err.endswith("a photo of val is damaged\n")
    assert saving.load_state(checkpoint.follow(run / "last"))["progress"]["step"] == 2


def test_a_run_that_was_killed_while_it_was_scored_makes_up_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(trainer: Trainer) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = tmp_path / "run"
    flags = [*TINY.split(), "--steps", "4", "--eval-every", "2", "--output", str(run)]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "validate", fail)
        assert train.main(flags) == 1
    monkeypatch.setattr(Trainer, "finish", lambda trainer: None)
    assert train.main([*flags, "--resume"]) == 0
    history = saving.load_state(checkpoint.follow(run / "last"))["progress"]["history"]
    assert [entry["step"] for entry in history if "mean_iou" in entry] == [2, 4]


def test_a_run_that_is_stopped_while_it_is_scored_at_last_stops_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = Trainer.validate

    def interrupt(trainer: Trainer) -> float:
        signal.raise_signal(signal.SIGTERM)
        return validate(trainer)

    monkeypatch.setattr(Trainer, "finish", lambda trainer: pytest.fail("it was told to stop"))
    monkeypatch.setattr(Trainer, "validate", interrupt)
    flags = [*TINY.split(), "--steps", "2", "--output", str(tmp_path / "run")]
    assert train.main(flags) == 130
    assert "--resume goes on" in capsys.readouterr().err


def test_what_a_lowered_budget_ends_with_is_scored_before_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, scored = tmp_path / "run", []
    trainer = Trainer(train.parse([*TINY.split(), "--output", str(run)]))
    trainer.step(next(trainer.batches()))
    trainer.save()

    def validate(trainer: Trainer) -> float:
        scored.append(trainer.progress.step)
        trainer.progress.history.append({"step": trainer.progress.step, "mean_iou": 0.5})
        return 0.5

    monkeypatch.setattr(Trainer, "validate", validate)
    monkeypatch.setattr(Trainer, "finish", lambda trainer: None)
    flags = [*TINY.split(), "--output", str(run), "--resume", "--steps", "1"]
    assert [train.main(flags), train.main(flags)] == [0, 0]
    assert scored == [1]  # and not once more


@pytest.mark.usefixtures("unfinished")
def test_a_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    flags = [*TINY.split(), "--output", str(run), "--precision", "fp32"]
    assert train.main([*flags, "--steps", "10"]) == 0
    before = checkpoint.follow(run / "last")
    huge = ["--lr", "1e30", "--backbone-lr", "1e30", "--clip", "1e30", "--warmup", "1"]
    assert train.main([*flags, "--steps", "40", "--resume", *huge]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "near step 20" in message
    assert "lower --lr (now 1e+30)" in message
    assert checkpoint.follow(run / "last") == before
    assert all(v.isfinite().all() for v in saving.load(before).state_dict().values())


@pytest.mark.parametrize("clip", [(), ("--clip", "0")])
def test_an_update_that_is_no_number_is_not_saved(
    clip: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def backward(accelerator: Accelerator, loss: torch.Tensor) -> None:
        (loss * torch.inf).backward()

    monkeypatch.setattr(Accelerator, "backward", backward)
    run = tmp_path / "run"
    assert train.main([*TINY.split(), "--steps", "1", "--output", str(run), *clip]) == 1
    assert "the loss is nan near step 1" in capsys.readouterr().err
    assert not (run / "last").exists()


@pytest.mark.usefixtures("unfinished")
def test_a_folder_in_which_another_process_trains_is_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    seen = run / "album" / "0000010-01234567.png"
    seen.parent.mkdir(parents=True)
    seen.touch()
    arguments = [*TINY.split(), "--steps", "1", "--output", str(run)]
    with checkpoint.claimed(run):
        assert train.main(arguments) == 1
    assert "Another process trains in" in capsys.readouterr().err
    assert seen.exists() and not (run / "last").exists()
    # It died before there was a checkpoint: what it saw is not the next run's.
    assert train.main(arguments) == 0
    looks = set(seen.parent.iterdir())
    assert looks and seen not in looks
    assert train.main([*arguments, "--resume", "--steps", "2"]) == 0
    assert looks < set(seen.parent.iterdir())


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), MemoryError()],
)
def test_memory_that_is_too_small_is_told_which_flags_to_lower(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: object) -> None:
        raise error

    monkeypatch.setattr(train, "train", fail)  # no GPU here can be filled
    assert train.main(TINY.split()) == 1
    message = capsys.readouterr().err
    for flag in ("--accumulate", "--crop", "--batch-size"):
        assert flag in message


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "run"
    nothing = ["--dataset", "camvid", "--data", str(tmp_path / "nowhere")]  # is not looked for yet
    assert train.main([*nothing, "--output", str(output)]) == 1
    assert capsys.readouterr().err == f"{output} cannot be written: {output.parent} is a file.\n"


def test_missing_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--dataset", "camvid", "--data", str(tmp_path / "nowhere")]) == 1
    captured = capsys.readouterr()
    assert "CamVid" in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(("rank", "told"), [("0", "--space needs --push"), ("1", "CamVid")])
def test_one_process_of_a_launch_sees_whether_it_can_be_pushed(
    rank: str,
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", rank)
    flags = ["--space", "me/page", "--dataset", "camvid", "--data", str(tmp_path / "nowhere")]
    assert train.main(flags) == 1
    assert told in capsys.readouterr().err


def test_data_that_cannot_be_downloaded_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCN_SCENE_PARSING_URL", "http://127.0.0.1:9/nobody-is-here.zip")
    assert train.main(["--data", str(tmp_path / "data")]) == 1
    *before, last = capsys.readouterr().err.splitlines()
    assert before[0].startswith("Downloading http://127.0.0.1:9/")
    assert "cannot be reached" in last
    assert last.endswith(f"put it into {tmp_path / 'data'}")
    assert not any("Traceback" in line for line in before)


def test_training_on_real_street_photos_takes_off(
    tmp_path: Path, real_data: Path, real_weights: Path
) -> None:
    flags = ["--dataset", "camvid", "--data", str(real_data), "--crop", "96", "128"]
    flags += ["--backbone-weights", str(real_weights), "--batch-size", "4", "--steps", "20"]
    flags += ["--warmup", "5", "--output", str(tmp_path / "run")]
    trainer = Trainer(train.parse(flags))
    losses = [float(trainer.step(passes)) for passes in islice(trainer.batches(), 20)]
    assert losses[0] == pytest.approx(np.log(11), rel=0.01)  # a fresh head knows nothing
    assert np.mean(losses[-5:]) < 0.85 * losses[0]
