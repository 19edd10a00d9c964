"""What a training sample is: a photo and its labels, changed at random but together.

One convention: a sample depends on (seed, epoch, index) alone, never on which worker or process
draws it or on what was drawn before. So one process, several, and a resumed run see the same.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from .augment import GREY
from .datasets import SegmentationDataset
from .metrics import IGNORE_INDEX
from .segmenter import enlargement


def derived_seed(*numbers: int) -> int:
    """Mix numbers into one 64-bit seed: equal for equal numbers, unrelated for others."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class RandomScaledCrop(v2.Transform):
    """Scale image and mask at random, cut the same window from both, pad what is missing.

    The window is cut first and then resized, which gives the same pixels for less work. Labels
    are taken by nearest-exact: plain nearest would move them by up to half a pixel.

    Args:
        crop_size: (H, W) of the result, in pixels.
        size: the photo's long side is scaled to this, in pixels, as far as a photo that is served
            is, times a factor
        scale: from this range, drawn evenly on a logarithmic scale.
    """

    def __init__(self, crop_size: tuple[int, int], size: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.crop_size = crop_size
        self.size = size
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the window in the photo and its size and place in the crop."""
        height, width = F.get_size(flat_inputs[0])
        low, high = self.scale
        fitting = enlargement(max(height, width), self.size)
        factor = low * (high / low) ** torch.rand(()).item() * fitting
        window, resized, place = [], [], []
        for side, crop in zip((height, width), self.crop_size, strict=True):
            cut = min(side, max(1, round(crop / factor)))
            out = crop if cut < side else min(crop, max(1, round(side * factor)))
            window.append((int(torch.randint(side - cut + 1, ())), cut))
            resized.append(out)
            place.append(int(torch.randint(crop - out + 1, ())))
        return {"window": window, "resized": resized, "place": place}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut, resize and pad one of the two."""
        (top, height), (left, width) = params["window"]
        is_mask = isinstance(inpt, tv_tensors.Mask)
        cut = F.crop(inpt, top, left, height, width)
        nearest, bilinear = v2.InterpolationMode.NEAREST_EXACT, v2.InterpolationMode.BILINEAR
        resized = F.resize(cut, params["resized"], nearest if is_mask else bilinear, antialias=True)
        if params["resized"] == list(self.crop_size):
            return resized
        before = params["place"]
        after = [
            crop - out - first
            for crop, out, first in zip(self.crop_size, params["resized"], before, strict=True)
        ]
        fill = IGNORE_INDEX if is_mask else list(GREY)
        return F.pad(resized, [before[1], before[0], after[1], after[0]], fill=fill)


def training_transform(
    crop_size: tuple[int, int],
    size: int = 480,
    scale: tuple[float, float] = (0.7, 1.4),
    flip: bool = True,
    color: float = 0.2,
) -> v2.Transform:
    """Build the augmentation of a (``tv_tensors.Image`` uint8, ``tv_tensors.Mask``) pair.

    Args:
        crop_size: (H, W) of the result, in pixels; what the photo does not fill is 255 in the
            labels and grey in the image.
        size: long side in pixels that a photo has at scale 1.
        scale: range of the random scale.
        flip: mirror every other sample, left to right.
        color: how far brightness, contrast and saturation may stray, in [0, 1); 0 for not.

    Returns:
        A transform to image float32 (3, H, W) in [0, 1] and labels int64 (H, W).
    """
    steps: list[v2.Transform] = [RandomScaledCrop(crop_size, size, scale)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color:
        steps.append(v2.ColorJitter(color, color, color))
    types: dict[type | str, torch.dtype | None] = {
        tv_tensors.Image: torch.float32,
        tv_tensors.Mask: torch.int64,
    }
    return v2.Compose([*steps, v2.ToDtype(types, scale=True)])


class Augmented(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Training samples of a data set, addressed by (epoch, index).

    Args:
        dataset: where the pairs come from.
        transform: changes a pair of tv_tensors, drawing from torch's global generator only.
        seed: of the run.
    """

    def __init__(self, dataset: SegmentationDataset, transform: v2.Transform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give image float32 (3, H, W) in [0, 1] and labels int64 (H, W) for (epoch, index)."""
        epoch, index = key
        photo, labels = self.dataset.read(index)
        pair = F.to_image(photo), tv_tensors.Mask(labels)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the GPUs as well, and they are not forked.
            torch.default_generator.manual_seed(derived_seed(self.seed, epoch, index))
            image, mask = self.transform(*pair)
        return image.as_subclass(torch.Tensor), mask.as_subclass(torch.Tensor)


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
