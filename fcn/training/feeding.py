"""What a run is fed: its splits, its training samples, and the passes of each step.

The convention: what a process is fed depends on the crops before it, its rank and the seed alone,
so a resumed run is fed what an uninterrupted one is, and processes share the batch that one would
take.
"""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from ..cores import count_cores
from ..data import download
from ..data.check import check_dataset
from ..data.datasets import SegmentationDataset, open_recipe
from ..data.samples import Augmented, EpochSampler
from ..data.transforms import Augmentation
from ..errors import InputError
from .config import TrainConfig
from .devices import tell
from .memory import StepPlan


def open_splits(config: TrainConfig) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the validation split, after a quick look for what would spoil a run.

    Scene Parsing is downloaded if it is not there; of several processes one does, the others wait.
    """
    name, data = config.dataset, Path(config.data)
    download.ensure(name, data)
    train_set, val_set = open_recipe(vars(config), data)
    splits = [train_set.split, val_set.split]
    found = check_dataset(name, data, splits, config.classes, config.others, thorough=False)
    for warning in filter(None, [train_set.shortfall(), val_set.shortfall(), *found.warnings()]):
        tell(warning)
    if errors := [one for one in found.problems if one.is_error]:
        others = f" (and {len(errors) - 1} more)" if errors[1:] else ""
        raise InputError(
            f"{name} cannot be trained on: {errors[0].file}: {errors[0].text}{others}."
            f" `python -m fcn check` looks at every file."
        )
    train_set.pairs = repeat_pairs(train_set.pairs, config.repeat)
    return train_set, val_set


def repeat_pairs(
    pairs: Sequence[tuple[Path, Path]], wishes: Sequence[str]
) -> Sequence[tuple[Path, Path]]:
    """Name the pairs of some photos several times, so that an epoch sees them as often.

    Args:
        pairs: Photo and mask of each item.
        wishes: ``PATTERN=N`` each, a shell pattern of photos' names without their ending; the
            last that fits a photo counts.

    Raises:
        InputError: For a wish of another form, and one that no photo fits.

    >>> pairs = [(Path("cat_1.jpg"), Path("cat_1.png")), (Path("dog_1.jpg"), Path("dog_1.png"))]
    >>> [photo.stem for photo, mask in repeat_pairs(pairs, ["dog_*=2"])]
    ['cat_1', 'dog_1', 'dog_1']
    """
    times = [1] * len(pairs)
    for wish in wishes:
        pattern, _, count = wish.rpartition("=")
        fits = [i for i, (photo, _) in enumerate(pairs) if fnmatchcase(photo.stem, pattern)]
        if not pattern or not re.fullmatch("[1-9][0-9]{0,2}", count):
            raise InputError(
                f"--repeat {wish} is not PATTERN=N, such as 'street_*=4', with N up to 999."
            )
        if not fits:
            raise InputError(
                f"--repeat {wish} fits no photo; they are named like {pairs[0][0].stem}."
            )
        for i in fits:
            times[i] = int(count)
    return [pair for pair, count in zip(pairs, times, strict=True) for _ in range(count)]


def build_samples(config: TrainConfig, train_set: SegmentationDataset) -> Augmented:
    """The training samples, by (epoch, index)."""
    size = config.size or train_set.size
    augmentation = Augmentation(config.crop, size, config.scale, config.flip, config.color)
    return Augmented(train_set, augmentation, config.seed)


def draw_passes(
    config: TrainConfig, samples: Augmented, plan: StepPlan, accelerator: Accelerator, start: int
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """The (images, labels) of each pass of each step for one process, after ``start`` crops."""
    loader = DataLoader(
        samples,
        batch_size=plan.crops,
        sampler=EpochSampler(
            len(samples),
            config.seed,
            start=start,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        ),
        num_workers=count_workers() if config.workers < 0 else config.workers,
        worker_init_fn=leave_signals_to_main,
        pin_memory=accelerator.device.type == "cuda",
        # Its own generator: a loader without one draws from the one that dropout uses.
        generator=torch.Generator(),
    )
    stream = iter(loader)
    while True:
        try:
            yield list(itertools.islice(stream, plan.passes))
        except InputError as error:
            # A loader's process adds its traceback in front.
            told = str(error).rpartition(f"{InputError.__name__}: ")[2].strip()
            raise InputError(told) from None


def count_workers() -> int:
    """How many processes read for this one: a core each, shared with others of the machine."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun has it
    return min(max(count_cores() // beside, 1), 16)


def is_lost_reader(error: Exception) -> bool:
    """Whether an error says that one of the loader's processes died."""
    return str(error).startswith("DataLoader worker")


def leave_signals_to_main(worker: int) -> None:
    """Give a loader's process a group of its own, so that only the main one ends it.

    Ctrl-C and a launcher's termination go to a whole group, and the main process must be able to
    save the run first.
    """
    os.setsid()
