"""What a run computes on: the devices and processes that Accelerate finds, and their precision."""

import os
import sys
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import InitProcessGroupKwargs
from tqdm import tqdm

from ..cores import limit_torch
from ..errors import InputError, first_line
from . import tracking
from .config import TrainConfig

# What a process waits for the others: they may download, or fit on a slower machine.
PATIENCE = timedelta(hours=1)


def find_precision(wanted: str) -> str:
    """Accelerate's name for a precision; auto is bf16 where the hardware computes in it."""
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if wanted == "bf16" or (wanted == "auto" and has_bf16) else "no"


def find_layout(device: torch.device) -> torch.memory_format:
    """The memory layout in which a device trains fastest.

    Channels last, but not on a CPU with AVX2 alone, where oneDNN's gradients of weights take longer
    with it (docs/speed.md).
    """
    has_avx2_alone = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return torch.contiguous_format if has_avx2_alone else torch.channels_last


def build_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate for this process and its place among the others of one launch, with its tracker.

    Raises:
        InputError: If the tracker's package is missing, there are fewer GPUs than processes, the
            device runs nothing, as a GPU that is too old for this PyTorch, or the processes of a
            launch do not find one another.
    """
    tracking.check_tracker(config.tracker)
    limit_torch()
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), torch.cuda.device_count()
    if torch.cuda.is_available() and here > gpus:
        raise InputError(f"{here} processes were started here, but there are {gpus} GPUs.")
    accelerator = Accelerator(
        # Without it, CPU processes that torchrun started would not know of one another.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=find_precision(config.precision),
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=config.folder(),
        kwargs_handlers=[InitProcessGroupKwargs(backend=None, timeout=PATIENCE)],
    )
    try:
        if accelerator.device.type == "cuda":
            torch.zeros(1, device=accelerator.device).add_(1).item()
    except RuntimeError as error:
        raise InputError(
            f"{accelerator.device} cannot be used here ({first_line(error)})."
            " CUDA_VISIBLE_DEVICES= in front of the command trains on the CPU."
        ) from error
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > accelerator.num_processes:
        raise InputError(
            f"{launched} processes were started, but on {accelerator.device.type} each would train"
            " alone: start train.py by python, without a launcher."
        )
    return accelerator


def tell(text: str) -> None:
    """Write to stderr, above a progress bar; of several processes the first alone does."""
    if PartialState().is_main_process:
        tqdm.write(text, file=sys.stderr)


def is_lost_peer(error: Exception) -> bool:
    """Whether an error says that another process of this launch is gone."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
