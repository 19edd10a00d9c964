"""Cores: a container's quota and affinity count, whatever the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fcn import cores
from fcn.inference.engines import load_engine
from fcn.training.config import TrainConfig
from fcn.training.devices import build_accelerator


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the kernel's, on a machine of 64 cores."""
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    (tmp_path / "cpu").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("max 100000\n", 64),
        ("9900000 100000\n", 64),
        ("", 64),
    ],
)
def test_a_quota_counts(cgroup: Path, text: str, count: int) -> None:
    (cgroup / "cpu.max").write_text(text)
    assert cores.count_cores() == count


@pytest.mark.parametrize(("quota", "count"), [(200_000, 2), (-1, 64)])
def test_so_does_that_of_an_older_kernel(cgroup: Path, quota: int, count: int) -> None:
    (cgroup / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cores.count_cores() == count


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone has affinity")
def test_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores.count_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_without_either_it_is_the_machines(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.count_cores() == 1


@pytest.fixture
def threads() -> Iterator[None]:
    """PyTorch with four threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("count", "left"), [(8, 4), (3, 3)])
def test_pytorch_has_no_more_threads_than_cores_but_may_have_fewer(
    count: int, left: int, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "count_cores", lambda: count)
    load_engine(tiny_checkpoint, "torch", "cpu")
    assert torch.get_num_threads() == left
    torch.set_num_threads(4)
    build_accelerator(TrainConfig(precision="fp32"))
    assert torch.get_num_threads() == left
