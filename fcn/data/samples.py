"""Training samples, and the order in which a run sees them.

One convention: a sample depends on (seed, epoch, index) alone, never on which worker or process
draws it or on what was drawn before. So one process, several, and a resumed run see the same.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from .datasets import SegmentationDataset
from .transforms import Augmentation, augment


def derived_seed(*numbers: int) -> int:
    """Mix numbers into one 64-bit seed; zeros at the end do not count.

    Any other numbers give an unrelated seed.

    >>> derived_seed(0, 5) == derived_seed(0, 5, 0), derived_seed(0, 5) == derived_seed(5, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class Augmented(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Training samples of a data set, addressed by (epoch, index).

    Args:
        dataset: where the pairs come from.
        augmentation: how they are changed.
        seed: of the run.
    """

    def __init__(self, dataset: SegmentationDataset, augmentation: Augmentation, seed: int) -> None:
        self.dataset = dataset
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give image (3, H, W) and labels (H, W), both uint8, for (epoch, index).

        In bytes, as they are copied from process to process and then to a GPU.
        """
        epoch, index = key
        photo, labels = self.dataset.read(index)
        draws = np.random.default_rng((self.seed, epoch, index))
        image, mask = augment([photo, Image.fromarray(labels)], self.augmentation, draws)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels, torch.from_numpy(np.array(mask))


class EpochSampler(Sampler[tuple[int, int]]):
    """An endless stream of (epoch, index), dealt out to processes in turn.

    Position p of the stream is place ``p % length`` in the order of epoch ``p // length``.
    Process ``rank`` of ``world`` takes positions ``start + rank``, ``start + rank + world``, ...

    Args:
        length: of the data set.
        seed: of the run; each epoch's order comes from (seed, epoch).
        start: position to go on from, counted over all processes.
        rank: this process, in [0, world).
        world: number of processes.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.length = length
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
        order: list[int] = torch.randperm(self.length, generator=generator).tolist()
        return order

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.start + self.rank
        while True:
            epoch = position // self.length
            order = self._order(epoch)
            while position // self.length == epoch:
                yield epoch, order[position % self.length]
                position += self.world
