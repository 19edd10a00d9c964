"""The model of many GPUs: its formula by hand, its limits, and what the program prints."""

import importlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import build_tiny
from torch.utils.flop_counter import FlopCounterMode

from fcn.model import FCN
from fcn.palette import SCENE_PARSING
from fcn.training.config import TrainConfig
from fcn.training.learning import Objective, build_optimizer

GIVEN = ("--step-seconds", "0.5")
Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    """The program, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
        return importlib.import_module("scaling")


@pytest.fixture
def rows(scaling, capsys) -> Rows:
    """What the program prints for a step of half a second on one GPU, and further flags."""

    def run(*flags: str) -> list[dict[str, Any]]:
        scaling.main([*GIVEN, "--json", *flags])
        return json.loads(capsys.readouterr().out)["rows"]

    return run


@pytest.mark.parametrize(
    ("gpus", "seconds"), [(1, 0), (2, 2 * (50 / 10 + 1)), (4, 6 * (25 / 10 + 1))]
)
def test_the_ring_by_hand(gpus, seconds, scaling):
    assert scaling.exchange_seconds(gpus, 100, 10, 1) == pytest.approx(seconds)


def test_a_free_exchange_scales_as_well_as_can_be(rows):
    free = ("--network", "1e9", "--inside", "1e9", "--latency", "0")
    found = rows(*free, "--images", "16384")
    assert [row["GPUs"] for row in found] == [1, 2, 4, 8, 16, 32, 64]
    for row in found:
        gpus = row["GPUs"]
        assert row["per_gpu_batch"] == 16 * gpus
        assert row["per_gpu_efficiency"] == pytest.approx(1)
        assert row["per_gpu_epoch_min"] == pytest.approx(1024 / gpus * 0.5 / 60)
        assert ("divided_batch" in row) == (1 < gpus <= 16)
        if "divided_batch" in row:
            assert row["divided_batch"] == 16
            assert row["divided_epoch_min"] == pytest.approx(row["per_gpu_epoch_min"])


def test_a_batch_is_divided_as_the_trainer_divides_it(rows):
    found = rows("--batch-size", "24")
    assert [row["GPUs"] for row in found if "divided_batch" in row] == [2, 4, 8]


def test_backwards_share_is_that_of_its_operations(scaling):
    config = TrainConfig()
    model = FCN(SCENE_PARSING, width=config.width, context=config.context)
    build_optimizer(model, config)  # freezes
    objective = Objective(model, config.stride, torch.ones(len(SCENE_PARSING)))
    with FlopCounterMode(display=False) as counter:
        loss = objective(torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.int64))
        forward = counter.get_total_flops()
        loss.backward()
    assert 1 - forward / counter.get_total_flops() == pytest.approx(scaling.BACKWARD, abs=1e-3)


def test_a_slow_network_costs_what_its_bytes_take(rows):
    slow = ("--network", "0.1", "--overlap", "0", "--latency", "0")
    found = rows(*slow)
    assert math.ceil(20210 / 16) * 0.5 / 60 == pytest.approx(found[0]["per_gpu_epoch_min"])
    alone = found[0]["per_gpu_epoch_min"]
    for row in found[1:]:
        gpus, exchange = row["GPUs"], row["exchange_ms"] / 1000
        steps = math.ceil(20210 / (16 * gpus))
        assert row["per_gpu_epoch_min"] == pytest.approx(steps * (0.5 + exchange) / 60)
        assert row["per_gpu_efficiency"] == pytest.approx(alone / row["per_gpu_epoch_min"] / gpus)
    # Up to 8 GPUs the ring stays inside a machine, at 20 GB/s; then it is 200 times as slow.
    inside, between = found[3]["exchange_ms"], found[4]["exchange_ms"]
    assert between / inside == pytest.approx(200 * (15 / 16) / (7 / 8))
    assert found[4]["per_gpu_efficiency"] < 0.3 < 0.95 < found[3]["per_gpu_efficiency"]


def test_overlap_hides_the_exchange_behind_backward(rows, scaling):
    hidden, shown = (rows("--network", "1", "--overlap", overlap)[4] for overlap in ("0.3", "0"))
    difference = hidden["per_gpu_epoch_min"] - shown["per_gpu_epoch_min"]
    assert difference == pytest.approx(-math.ceil(20210 / 256) * 0.3 * scaling.BACKWARD * 0.5 / 60)


def test_the_table_prints_its_assumptions_and_the_gradients_of_the_network(root, tmp_path):
    command = [sys.executable, str(root / "benchmarks" / "scaling.py"), *GIVEN]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[0].startswith("| GPUs | exchange_ms |")
    for words in (
        "0.5 s for 16 crops of 384x384, as given",
        "one ring",
        "57.4% of a step",
        "20210 crops",
    ):
        assert words in shown
    # VGG16's third to fifth stage, a compact head of width 1024 with context, and the
    # deconvolutions of all strides, for 150 classes and in float32.
    stages = 1475328 + 5899776 + 7079424
    classifier = (512 * 9 + 512 + 1) * 1024 + (1024 + 1) * 1024
    scores = 150 * ((1024 + 1) + (512 + 1) + (256 + 1))
    kernels = 150 * (4 * 4 + 4 * 4 + 16 * 16 + 32 * 32 + 64 * 64)
    assert f"gradients are {4e-6 * (stages + classifier + scores + kernels):.1f} MB" in shown


def test_a_step_is_not_measured_where_there_is_no_gpu(scaling, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        scaling.main([])
    assert "give --step-seconds" in capsys.readouterr().err


def test_a_step_is_measured(scaling):
    start = time.perf_counter()
    seconds = scaling.measure(TrainConfig(), build_tiny(["sky", "road"]), 1, (32, 48))
    assert 0 < 2 * seconds < time.perf_counter() - start
