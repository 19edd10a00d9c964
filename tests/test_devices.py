"""What a run computes on, and whom it tells."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from accelerate.tracking import GeneralTracker, on_main_process, register_tracker_class

import train
from fcn.errors import InputError
from fcn.training import devices, tracking
from fcn.training.config import TrainConfig
from fcn.training.devices import (
    build_accelerator,
    find_layout,
    find_precision,
    is_lost_peer,
)
from fcn.training.tracking import TRACKERS
from fcn.training.trainer import Trainer


class Recorder(GeneralTracker):
    """A tracker as Accelerate knows them, which keeps all that it is told."""

    name = "recorder"
    requires_logging_directory = False
    choices: ClassVar[dict[str, Any]] = {}
    told: ClassVar[dict[int, dict[str, float]]] = {}

    def __init__(self, run_name: str) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    @on_main_process
    def start(self) -> None:
        self.told.clear()

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.choices.update(values)

    @on_main_process
    def log(self, values: dict[str, float], step: int) -> None:
        self.told.setdefault(step, {}).update(values)


@pytest.mark.parametrize(("wanted", "name"), [("fp32", "no"), ("bf16", "bf16")])
def test_a_precision_that_is_asked_for_is_taken(wanted: str, name: str) -> None:
    assert find_precision(wanted) == name


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="is about x86")
def test_a_processor_without_avx512_trains_in_contiguous_memory() -> None:
    code = "import torch, fcn.training.devices as d; print(d.find_layout(torch.device('cpu')))"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "torch.contiguous_format"
    assert find_layout(torch.device("cuda")) == torch.channels_last


def test_a_tracker_is_told_scalars_and_every_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_tracker_class(Recorder)
    tiny = (
        "--dataset shapes --backbone-weights none --width 8 --size 32 --crop 32 32 --batch-size 2"
        " --no-export"
    )
    config = train.parse([*tiny.split(), "--steps", "20", "--eval-every", "20", "--workers", "1"])
    config.tracker, config.output = Recorder.name, str(tmp_path / "run")
    monkeypatch.setattr(Trainer, "finish", lambda trainer: None)  # of which it is not told
    train.train(config)
    assert list(Recorder.told) == [10, 20]
    assert Recorder.told[10].keys() == {"loss", "lr"}
    scores = {"mean_iou", "pixel_accuracy", "iou/background", "iou/circle"}
    assert scores <= Recorder.told[20].keys()
    assert all(isinstance(one, float) for one in Recorder.told[20].values())
    assert Recorder.choices["crop"] == "32 32"
    assert Recorder.choices["steps"] == 20
    assert "output" not in Recorder.choices


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", list)  # some machines have one
    assert train.main(["--tracker", name, "--data", "nowhere"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"pip install {name}")


def test_a_tracker_that_does_not_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(recorder: Recorder, name: str) -> None:
        raise LookupError("No API key configured.\nMore.")

    register_tracker_class(Recorder)
    monkeypatch.setattr(Recorder, "__init__", refuse)
    config = TrainConfig(tracker=Recorder.name, output=str(tmp_path))
    accelerator = build_accelerator(config)
    with pytest.raises(InputError, match=r"does not start \(No API key configured.\); .* out$"):
        tracking.start(accelerator, config.tracker, config.recipe())


def test_processes_that_would_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # A Mac's GPU, which is in no group, is not to be had here.
    alone = SimpleNamespace(num_processes=1, device=torch.device("mps"))
    monkeypatch.setattr(devices, "Accelerator", lambda **options: alone)
    assert build_accelerator(TrainConfig()) is alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes were started, but on mps each"):
        build_accelerator(TrainConfig())


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # not to be had here
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    with pytest.raises(InputError, match="8 processes were started here, but there are 4 GPUs"):
        build_accelerator(TrainConfig())


def test_a_bug_is_not_taken_for_a_lost_process() -> None:
    closed = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error"
    assert is_lost_peer(RuntimeError(closed))
    lost = torch.distributed.DistBackendError("Duplicate GPU detected\nMore.")
    assert is_lost_peer(lost)
    assert "(Duplicate GPU detected)" in train.explain(lost, TrainConfig())
    assert not is_lost_peer(RuntimeError("expected scalar type Float"))
