"""How a step is split so that it fits the memory, which is found out by trying.

The convention: how many crops a step takes is the recipe's and is never changed, only in how many
passes it takes them, so every machine learns the same but for the channels that dropout draws in
each pass. What is tried is a copy, on noise, and a run then begins as if nothing had been tried.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from ..errors import InputError, first_line
from .config import TrainConfig
from .devices import find_layout
from .learning import Objective, build_optimizer

TRIAL_SHARE = 0.92  # of a GPU's memory


class StepPlan(NamedTuple):
    """How a process takes its share of a step.

    Attributes:
        passes: Whose gradients are added up.
        crops: In each of them.
        recompute: Whether backward computes activations again, instead of keeping them.
    """

    passes: int
    crops: int
    recompute: bool

    def describe(self, processes: int) -> str:
        """Say who takes what.

        >>> StepPlan(2, 4, recompute=True).describe(3)
        'A step takes 24 crops (processes: 3, passes: 2, crops: 4; activations computed again).'
        """
        total = processes * self.passes * self.crops
        again = "; activations computed again" if self.recompute else ""
        return (
            f"A step takes {total} crops (processes: {processes}, passes: {self.passes},"
            f" crops: {self.crops}{again})."
        )


def list_plans(config: TrainConfig, processes: int) -> list[StepPlan]:
    """The plans of a step that a config allows, the fastest first.

    Raises:
        InputError: If the batch cannot be divided evenly.
    """
    share, rest = divmod(config.batch_size, processes)
    passes = [config.accumulate] if config.accumulate else range(1, share + 1)
    even = [number for number in passes if share % number == 0]
    if rest or not share or not even:
        raise InputError(
            f"--batch-size {config.batch_size} cannot be split evenly among {processes} processes"
            f" and into {config.accumulate or 'any number of'} passes."
        )
    plans = [StepPlan(one, share // one, config.checkpoint_activations) for one in even]
    if not (config.accumulate or config.checkpoint_activations):
        plans.append(plans[-1]._replace(recompute=True))
    return plans


def choose_plan(
    plans: list[StepPlan],
    objective: Objective,
    config: TrainConfig,
    accelerator: Accelerator,
) -> StepPlan:
    """The first split that fits the memory of every process; one alone is not tried.

    Args:
        plans: As ``list_plans`` gives them.
        objective: What learns; it stays where and as it is.
        config: Of the run.
        accelerator: Of the run.

    Raises:
        InputError: If none fits.
    """
    processes = accelerator.num_processes
    if len(plans) == 1:
        return plans[0]
    for plan in plans:
        with spared_memory(accelerator.device):
            lack = find_lack(plan, objective, config, accelerator)
        clear_device_cache(garbage_collection=True)
        fits = torch.tensor(float(not lack), device=accelerator.device)
        if accelerator.reduce(fits) == processes:
            return plan
    height, width = config.crop
    raise InputError(
        f"A step on one crop of {height}x{width} does not fit the memory, even if activations are"
        f" computed again{f' ({lack})' if lack else ''}: lower --crop, or --width (now"
        f" {config.width}), or raise --frozen-stages (now {config.frozen_stages})."
    )


@contextmanager
def spared_memory(device: torch.device) -> Iterator[None]:
    """Leave a part of a GPU's memory for what a trial lacks: buffers of many processes.

    The GPU is the current one, as Accelerate has set it: its device has no index where one process
    runs alone, and torch wants an index here.
    """
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_per_process_memory_fraction(TRIAL_SHARE)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.reset_peak_memory_stats()


def find_lack(
    plan: StepPlan, objective: Objective, config: TrainConfig, accelerator: Accelerator
) -> str:
    """What a library says of a step that does not fit this process's memory; empty if it fits.

    Draws no random number.
    """
    device = accelerator.device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            rehearse(plan, objective, config, accelerator)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return first_line(error)
    return ""


def rehearse(
    plan: StepPlan, objective: Objective, config: TrainConfig, accelerator: Accelerator
) -> None:
    """Take a step on noise with a copy of what learns."""
    device, layout = accelerator.device, find_layout(accelerator.device)
    trial = copy.deepcopy(objective).to(device)
    trial.to(memory_format=layout)
    trial.checkpoint_activations(plan.recompute)
    optimizer = build_optimizer(trial.model, config)
    # Gradients and AdamW's moments are there already in all passes and steps but the first.
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    images = torch.rand(plan.crops, 3, *config.crop, device=device)
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(trial.model.num_classes, (plan.crops, *config.crop), device=device)
    with accelerator.autocast():
        loss = trial(images, labels)
    loss.backward()
    optimizer.step()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is too small, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # cuDNN finds no engine where one would need more memory than there is.
    signs = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
    is_cuda = isinstance(error, RuntimeError) and any(one in str(error) for one in signs)
    return is_cuda or (isinstance(error, Exception) and should_reduce_batch_size(error))
