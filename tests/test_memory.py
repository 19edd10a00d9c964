"""Splitting a step: what is tried, what is chosen under a real limit, and no trace of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from conftest import build_tiny

from fcn.errors import InputError
from fcn.training import memory
from fcn.training.config import TrainConfig
from fcn.training.learning import Objective
from fcn.training.memory import StepPlan, choose_plan, is_out_of_memory, list_plans
from fcn.training.trainer import Trainer


def choose(monkeypatch: pytest.MonkeyPatch, room: int) -> StepPlan:
    """Split a step of four crops where a pass of more than ``room`` of them is refused.

    The refusal is made up: a process whose convolutions really ran out of a CPU's memory is of no
    use any more.
    """
    real = memory.rehearse

    def rehearse(plan: StepPlan, *others: Any) -> None:
        if plan.crops > room - (not plan.recompute and room < 2):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        real(plan, *others)

    monkeypatch.setattr(memory, "rehearse", rehearse)
    config = TrainConfig(crop=(32, 32), batch_size=4)
    objective = Objective(build_tiny(["sky", "road"]), 8, torch.ones(2))
    return choose_plan(list_plans(config, 1), objective, config, Accelerator(cpu=True))


@pytest.mark.parametrize(
    ("changes", "processes", "plans"),
    [
        ({}, 1, [(1, 6, False), (2, 3, False), (3, 2, False), (6, 1, False), (6, 1, True)]),
        ({}, 3, [(1, 2, False), (2, 1, False), (2, 1, True)]),
        ({"accumulate": 3}, 2, [(3, 1, False)]),
        ({"checkpoint_activations": True}, 3, [(1, 2, True), (2, 1, True)]),
    ],
)
def test_all_splits_take_the_batch_of_the_recipe(
    changes: dict[str, Any], processes: int, plans: list[StepPlan]
) -> None:
    assert list_plans(TrainConfig(batch_size=6, **changes), processes) == plans
    for one in plans:
        assert processes * one[0] * one[1] == 6


@pytest.mark.parametrize("changes", [{"accumulate": 4}, {"batch_size": 1}, {"batch_size": 5}])
def test_what_cannot_be_split_evenly_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="cannot be split evenly among 2 processes"):
        list_plans(TrainConfig(**{"batch_size": 6, **changes}), 2)


@pytest.mark.parametrize(
    ("room", "split"),
    [(4, (1, 4, False)), (3, (2, 2, False)), (2, (2, 2, False)), (1, (4, 1, True))],
)
def test_less_memory_means_more_passes_and_then_recomputing(
    monkeypatch: pytest.MonkeyPatch, room: int, split: tuple[int, int, bool]
) -> None:
    assert choose(monkeypatch, room) == split


def test_a_step_that_cannot_fit_is_refused_with_what_to_lower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match="32x32 does not fit") as raised:
        choose(monkeypatch, 0)
    for told in ("(CUDA out of memory.)", "--crop", "--width", "--frozen-stages"):
        assert told in str(raised.value)


def test_a_trial_leaves_no_trace(tmp_path: Path) -> None:
    small = {"dataset": "shapes", "backbone_weights": "none", "width": 8, "precision": "fp32"}
    sizes = {"crop": (32, 40), "batch_size": 4, "workers": 0, "dropout": 0.5}
    tried, untried = (
        Trainer(TrainConfig(**small, **sizes, output=str(tmp_path), accumulate=accumulate))
        for accumulate in (0, 1)
    )
    assert tried.plan == untried.plan
    assert not tried.optimizer.state
    state = torch.get_rng_state()
    config = tried.config
    choose_plan(list_plans(config, 1), tried.objective, config, tried.accelerator)
    assert torch.equal(torch.get_rng_state(), state)
    losses = [
        [float(one.step(next(stream))) for _ in range(2)]
        for one, stream in ((tried, tried.batches()), (untried, untried.batches()))
    ]
    assert losses[0] == losses[1]


def test_of_a_gpu_without_index_a_part_is_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made up, as there is no GPU: torch wants an index or none, and Accelerate gives neither."""
    shares = []

    def limit(share: float, device: torch.device | int | None = None) -> None:
        assert device is None or not isinstance(device, torch.device) or device.index is not None
        shares.append(share)

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device=None: None)
    with memory.spared_memory(torch.device("cuda")):
        assert shares == [memory.TRIAL_SHARE]
    assert shares == [memory.TRIAL_SHARE, 1.0]


def test_a_bug_is_not_taken_for_want_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))
    for text in (
        "GET was unable to find an engine to execute this computation",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be reported later",
    ):
        assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
