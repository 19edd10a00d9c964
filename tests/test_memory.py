"""Splitting a step: what is tried, what is chosen under a real limit, and no trace of it."""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from conftest import build_tiny

from fcn.config import TrainConfig
from fcn.errors import InputError
from fcn.learning import Objective
from fcn.memory import Split, choose_split, is_out_of_memory, list_splits
from fcn.trainer import Trainer

GIGABYTE = 10**9


def choose(room: int | None, **changes: Any) -> Split:
    """Split a step on 150 classes, of which the logits take most of the memory."""
    config = TrainConfig(**{"crop": (96, 96), "batch_size": 4, "frozen_stages": 5, **changes})
    objective = Objective(build_tiny([str(i) for i in range(150)]), 8, torch.ones(150))
    accelerator = Accelerator(cpu=True)
    return choose_split(list_splits(config, 1), objective, config, accelerator, room)


@pytest.mark.parametrize(
    ("changes", "processes", "splits"),
    [
        ({}, 1, [(1, 6, False), (2, 3, False), (3, 2, False), (6, 1, False), (6, 1, True)]),
        ({}, 3, [(1, 2, False), (2, 1, False), (2, 1, True)]),
        ({"accumulate": 3}, 2, [(3, 1, False)]),
        ({"checkpoint_activations": True}, 3, [(1, 2, True), (2, 1, True)]),
    ],
)
def test_all_splits_take_the_batch_of_the_recipe(
    changes: dict[str, Any], processes: int, splits: list[Split]
) -> None:
    assert list_splits(TrainConfig(batch_size=6, **changes), processes) == splits
    for one in splits:
        assert processes * one[0] * one[1] == 6


@pytest.mark.parametrize("changes", [{"accumulate": 4}, {"batch_size": 1}, {"batch_size": 5}])
def test_what_cannot_be_split_evenly_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="cannot be split evenly among 2 processes"):
        list_splits(TrainConfig(**{"batch_size": 6, **changes}), 2)


def run_out() -> tuple[list[Split], str]:
    """Splits for less and less memory, and what is said where nothing fits."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    found = [choose(GIGABYTE)]
    while found[-1].passes == 1:
        found.append(choose(round(GIGABYTE * 0.6 ** len(found))))
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    try:
        choose(GIGABYTE // 10, crop=(1024, 1024))
    except InputError as error:
        return found, str(error)
    return found, ""


def test_less_memory_means_more_passes_until_nothing_fits() -> None:
    # Convolutions do not work any more in a process that has run out of memory once.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found, refusal = pool.submit(run_out).result()
    assert found[0] == (1, 4, False)
    assert found[-1].passes * found[-1].crops == 4 > found[-1].crops
    assert "1024x1024 does not fit" in refusal
    for flag in ("--crop", "--width", "--frozen-stages"):
        assert flag in refusal


def test_nothing_is_tried_on_a_cpu_by_itself() -> None:
    assert choose(None, crop=(10**6, 10**6)) == (1, 4, False)


def test_a_trial_leaves_no_trace(tmp_path: Path) -> None:
    small = {"dataset": "shapes", "backbone_weights": "none", "width": 8, "precision": "fp32"}
    sizes = {"crop": (32, 40), "batch_size": 4, "workers": 0, "dropout": 0.5}
    tried, untried = (
        Trainer(TrainConfig(**small, **sizes, output=str(tmp_path), accumulate=accumulate))
        for accumulate in (0, 1)
    )
    assert tried.split == untried.split
    assert not tried.optimizer.state
    state = torch.get_rng_state()
    config = tried.config
    choose_split(list_splits(config, 1), tried.objective, config, tried.accelerator, 9 * GIGABYTE)
    assert torch.equal(torch.get_rng_state(), state)
    losses = [
        [float(one.step(next(stream))) for _ in range(2)]
        for one, stream in ((tried, tried.batches()), (untried, untried.batches()))
    ]
    assert losses[0] == losses[1]


def test_a_bug_is_not_taken_for_want_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
