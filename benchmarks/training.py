"""How fast a training step is: ``python benchmarks/training.py``.

Steps on a synthetic batch in each precision and memory layout, in turns in one process, so that a
noisy machine is as unfair to one as to the other; medians. Then steps with the real loader (scenes
drawn on the fly, or ``--dataset`` and ``--data``), which come one after another, as it would read
ahead while others have their turn: three means, each of as many steps as it has batches on the way.
It keeps up where they take about as long as the others. FLOPs are those of PyTorch's own counter
and the peak is what a large matrix product reaches here.
"""

import argparse
import dataclasses
import itertools
import tempfile
import time
from typing import Any

import torch
from measuring import Work, report, summarise, take_turns
from torch.utils.flop_counter import FlopCounterMode

from fcn.data.datasets import DATASETS, open_dataset
from fcn.training.config import TrainConfig
from fcn.training.devices import build_accelerator, find_precision
from fcn.training.feeding import count_workers
from fcn.training.learning import Objective, build_model, build_optimizer
from fcn.training.report import describe_hardware
from fcn.training.trainer import Trainer

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
PREFETCHED = 2  # batches that each of the loader's processes has on the way, PyTorch's default
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def synthetic(config: TrainConfig, precision: str, layout: str) -> Work:
    """A step on the same random batch: forward, backward and update."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dataset = open_dataset(config.dataset, config.data, DATASETS[config.dataset].train)
    model = build_model(config, dataset).train().to(device)
    model.to(memory_format=LAYOUTS[layout])
    objective = Objective(model, config.stride, torch.ones(model.num_classes, device=device))
    optimizer = build_optimizer(model, config)
    height, width = config.crop
    images = torch.rand(config.batch_size, 3, height, width, device=device)
    images = images.to(memory_format=LAYOUTS[layout])
    labels = torch.randint(model.num_classes, (config.batch_size, height, width), device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = objective(images, labels) / labels.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronise()

    return step


def time_real(config: TrainConfig) -> list[float]:
    """Seconds of a step as ``train.py`` takes it, with what the loader brings: three means."""
    trainer = Trainer(config)
    stream = trainer.batches()
    ahead = count_workers() * PREFETCHED
    trainer.step(next(stream))  # warms up
    for _ in range(ahead):  # what has been read by now would hide how long reading takes
        next(stream)
    synchronise()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        # Readers may all be done at once, so only as many steps as they bring tell how fast it is.
        for _ in range(ahead):
            trainer.step(next(stream))
        synchronise()
        seconds.append((time.perf_counter() - start) / ahead)
    return seconds


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def count_flops(step: Work) -> int:
    """Floating point operations of a step, two for a multiplication and addition."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def measure_peak(dtype: torch.dtype) -> float:
    """FLOP/s that a matrix product of 4096 reaches on this machine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":  # as convolutions have it, which is TF32
        torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision
    size = 4096
    one, other = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        one @ other
        synchronise()

    return 2 * size**3 / min(take_turns({"": multiply}, 5)[""])


def measure(config: TrainConfig, repeats: int) -> list[dict[str, Any]]:
    """All rows of the table."""
    precisions = ["fp32"] + ["bf16"] * (find_precision("auto") == "bf16")
    steps = {
        (precision, layout): synthetic(config, precision, layout)
        for precision, layout in itertools.product(precisions, LAYOUTS)
    }
    flops = count_flops(steps["fp32", "channels_last"])
    peaks = {name: measure_peak(getattr(torch, DTYPES[name])) for name in precisions}
    seconds = take_turns(steps, repeats)
    with tempfile.TemporaryDirectory() as folder:
        seconds[precisions[-1], "real loader"] = time_real(
            dataclasses.replace(config, output=folder)
        )
    rows = []
    size = f"{config.batch_size}x{config.crop[1]}x{config.crop[0]}"
    for (precision, what), took in seconds.items():
        row = summarise(f"{precision}, {what}", size, took)
        row["images_per_s"] = config.batch_size / row["median_s"]
        row["share_of_peak"] = flops / row["median_s"] / peaks[precision]
        rows.append(row)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="shapes")
    parser.add_argument("--data", default="")
    parser.add_argument("--crop", type=int, nargs=2, default=(384, 384))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    config = TrainConfig(
        dataset=args.dataset,
        data=args.data,
        backbone_weights="none",
        crop=args.crop,
        batch_size=args.batch_size,
    )
    hardware = describe_hardware(build_accelerator(config).device, 1)
    report(measure(config, args.repeats), args.json, hardware=hardware)


if __name__ == "__main__":
    main()
