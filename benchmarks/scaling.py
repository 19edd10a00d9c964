"""What an epoch of Scene Parsing would take on 1 to 64 GPUs: ``python benchmarks/scaling.py``.

A model, not a measurement of 64 GPUs: the time of a step on one GPU, which is measured here or
given with ``--step-seconds``, and beside it the time that a ring all-reduce of the gradients takes,
from their size and the bandwidth that is stated. Every assumption is printed with the table.
"""

import argparse
import math
from collections.abc import Sequence
from typing import Any

import torch
from measuring import report, take_turns

from fcn.data.datasets import DATASETS
from fcn.model import FCN
from fcn.palette import SCENE_PARSING
from fcn.training.config import TrainConfig
from fcn.training.devices import find_layout
from fcn.training.learning import Objective, build_optimizer

GPUS = (1, 2, 4, 8, 16, 32, 64)
# Of a step's operations, as PyTorch's FlopCounterMode counts them for the default recipe: a layer
# that learns has two products in backward to forward's one, and the two frozen stages have none.
BACKWARD = 0.574


def exchange_seconds(gpus: int, size: float, bandwidth: float, latency: float) -> float:
    """A ring all-reduce: 2 (n - 1) rounds, in each of which a GPU sends a piece of 1 / n.

    Args:
        gpus: how many, n.
        size: bytes of gradients.
        bandwidth: bytes/s of the slowest link of the ring.
        latency: seconds that a round takes beside its bytes.
    """
    return 2 * (gpus - 1) * (size / gpus / bandwidth + latency)


def predict(gpus: int, size: float, step: float, args: argparse.Namespace) -> dict[str, Any]:
    """One row: with the recipe's batch for each GPU, and with that batch divided among them."""
    network = args.inside if gpus <= args.gpus_per_machine else min(args.inside, args.network)
    exchange = exchange_seconds(gpus, size, 1e9 * network, 1e-6 * args.latency)
    row: dict[str, Any] = {"GPUs": gpus, "exchange_ms": 1000 * exchange}
    for share in (1, gpus):  # GPUs that a batch is divided among
        batch = args.batch_size * gpus // share
        if batch % gpus:  # which the trainer refuses
            break
        compute = step / share
        shown = max(0.0, exchange - args.overlap * BACKWARD * compute)
        minutes = math.ceil(args.images / batch) * (compute + shown) / 60
        alone = math.ceil(args.images / args.batch_size) * step / 60
        name = "divided" if share == gpus > 1 else "per_gpu"
        row |= {f"{name}_batch": batch, f"{name}_epoch_min": minutes}
        row[f"{name}_efficiency"] = alone / minutes / gpus
    return row


def measure(config: TrainConfig, model: FCN, batch: int, crop: Sequence[int]) -> float:
    """Seconds of a step on this machine's GPU, the median of three."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device, memory_format=find_layout(torch.device(device))).train()
    objective = Objective(model, config.stride, torch.ones(model.num_classes, device=device))
    optimizer = build_optimizer(model, config)
    images = torch.rand(batch, 3, *crop, device=device)
    labels = torch.randint(model.num_classes, (batch, *crop), device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = objective(images, labels) / labels.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return sorted(take_turns({"step": step}, 3)["step"])[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    config = TrainConfig()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flag = parser.add_argument
    flag("--step-seconds", type=float, help="of one GPU on --batch-size crops (default: measure)")
    flag("--batch-size", type=int, default=config.batch_size, help="crops per step on one GPU")
    flag("--crop", type=int, nargs=2, default=config.crop, help="height and width of a crop")
    flag("--network", type=float, default=12.5, help="GB/s between machines (default: 100 Gbit/s)")
    flag("--inside", type=float, default=20, help="GB/s between GPUs of a machine (PCIe 4: 20)")
    flag("--gpus-per-machine", type=int, default=8)
    flag("--latency", type=float, default=20, help="microseconds of a round (default: 20)")
    flag("--overlap", type=float, default=0.5, help="share of backward that hides the exchange")
    flag("--images", type=int, default=DATASETS["scene_parsing"].whole["training"])
    flag("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(arguments)
    given = {name: getattr(config, name) for name in ("width", "dropout", "context")}
    model = FCN(list(SCENE_PARSING), **given)
    groups = build_optimizer(model, config).param_groups
    size = 4 * sum(one.numel() for group in groups for one in group["params"])
    if not args.step_seconds and not torch.cuda.is_available():
        parser.error("there is no GPU here to measure a step on: give --step-seconds")
    step = args.step_seconds or measure(config, model, args.batch_size, args.crop)
    rows = [predict(gpus, size, step, args) for gpus in GPUS]
    assumptions = [
        f"a step on one GPU takes {step:.3g} s for {args.batch_size} crops of {args.crop[0]}x"
        f"{args.crop[1]}, " + ("as given" if args.step_seconds else "measured here"),
        f"gradients are {size / 1e6:.1f} MB, float32, of every weight that is trained",
        f"one ring; its slowest link carries {args.inside:g} GB/s on up to {args.gpus_per_machine} "
        f"GPUs, then {min(args.inside, args.network):g} between machines; each of its rounds costs "
        f"{args.latency:g} microseconds more",
        f"backward is {BACKWARD:.1%} of a step, as of its operations, and {args.overlap:.0%} of "
        "that hides the exchange",
        "per_gpu: every GPU takes the whole batch, so that the batch of a step grows with them, "
        "and the rates must suit it; divided: the same recipe, its batch divided among the GPUs, "
        "and a part of a batch takes its part of the time",
        f"an epoch is {args.images} crops; reading keeps up, all GPUs are equally fast, and "
        "validation and checkpoints are not counted",
    ]
    if args.json:
        report(rows, True, assumptions=assumptions)
        return
    report([dict.fromkeys(rows[1], "-") | row for row in rows], False)
    print("\n".join(f"- {one}" for one in assumptions))


if __name__ == "__main__":
    main()
