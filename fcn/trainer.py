"""What a training run is made of: its network, optimizer, batches, steps, scores and state.

The conventions. The loss is the cross-entropy summed over the labelled pixels of a whole step (all
processes, all accumulated passes) and divided by their number, so how a step is split does not
change it. All that is random in step n comes from (seed, n), and all that is random in a sample
from (seed, epoch, index), so a resumed run repeats what an uninterrupted one does.
"""

import contextlib
import dataclasses
import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from . import checkpoint, report, saving, vgg
from .check import check_dataset
from .config import TrainConfig
from .datasets import DATASETS, SegmentationDataset, open_dataset
from .errors import InputError
from .evaluation import check_classes, describe, evaluate
from .head import REACHES, STRIDES
from .metrics import IGNORE_INDEX
from .model import FCN
from .segmenter import Segmenter
from .transforms import Augmented, EpochSampler, derived_seed, training_transform

# A val photo in a hundred is less sure than this: the mean confidence that makes a photo doubtful.
DOUBTFUL_SHARE = 0.01


class Objective(nn.Module):
    """The network and its loss at every supervised stride: what a process computes in a pass."""

    def __init__(self, model: FCN, stride: int) -> None:
        super().__init__()
        self.model = model
        self.strides = tuple(one for one in STRIDES if one >= stride)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Sum the cross-entropy over labelled pixels, averaged over strides.

        Args:
            images: (N, 3, H, W) float in [0, 1].
            labels: (N, H, W) int64 in [0, num_classes) or ``IGNORE_INDEX``.
        """
        logits = self.model.forward_all(images, self.strides)
        losses = [
            F.cross_entropy(one.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
            for one in logits.values()
        ]
        return torch.stack(losses).mean()


@dataclass
class Progress:
    """How far a run is; saved with it."""

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def log(self, loss: float) -> None:
        """Add to the history where the run is."""
        self.history.append({"step": self.step, "loss": loss, "seconds": self.seconds})

    def share(self, config: TrainConfig) -> float:
        """The part of the budget that is used, from 0 to 1."""
        used = self.step / config.steps
        if config.minutes:
            used = max(used, self.seconds / (60 * config.minutes))
        return min(used, 1.0)


def open_splits(config: TrainConfig) -> tuple[SegmentationDataset, SegmentationDataset]:
    """The training and the validation split, after a quick look for what would spoil a run."""
    source = DATASETS[config.dataset]
    splits = [config.split or source.train, config.val_split or source.val]
    chosen, kept = (config.dataset, Path(config.data)), (config.classes, config.others)
    train_set, val_set = (open_dataset(*chosen, split, *kept) for split in splits)
    found = check_dataset(*chosen, splits, *kept, thorough=False)
    if not found.ok:
        raise InputError(f"{config.dataset} cannot be trained on as it is:\n{found}")
    return train_set, val_set


def split_batch(config: TrainConfig, processes: int) -> int:
    """How many crops a process takes in one pass."""
    passes = config.accumulate * processes
    if config.batch_size < 1 or passes < 1 or config.batch_size % passes:
        raise InputError(
            f"--batch-size {config.batch_size} cannot be split evenly into {config.accumulate}"
            f" passes of {processes} processes."
        )
    return config.batch_size // passes


def find_precision(wanted: str) -> str:
    """Accelerate's name for a precision; auto is bf16 where the hardware computes in it."""
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if wanted == "bf16" or (wanted == "auto" and has_bf16) else "no"


def find_weights(config: TrainConfig) -> tuple[dict[str, Tensor] | None, vgg.Normalisation]:
    """The backbone's weights, if any, and the normalisation that belongs to them."""
    if config.backbone_weights == "none":
        return None, vgg.CAFFE
    if config.backbone_weights == "imagenet":
        return vgg.download_backbone_weights(config.backbone, config.head)
    return vgg.read_backbone_weights(Path(config.backbone_weights))


def build_model(config: TrainConfig, train_set: SegmentationDataset) -> FCN:
    """A fresh network for a data set, with ImageNet's weights or those of ``--init``."""
    source = saving.load(config.init) if config.init else None
    weights, normalisation = (
        find_weights(config) if source is None else (None, source.normalisation)
    )
    model = FCN(
        train_set.classes,
        train_set.palette,
        backbone=config.backbone,
        head=config.head,
        width=config.width,
        dropout=config.dropout,
        stride=config.stride,
        mean=normalisation.mean,
        std=normalisation.std,
        inference_size=config.size or train_set.size,
    )
    if source is not None:
        left = saving.transfer(source, model)
        print(f"Started from {config.init}; new or left out: {', '.join(left) or 'nothing'}.")
    elif weights is not None:
        vgg.load_pretrained(model.backbone, weights)
    return model


def build_optimizer(model: FCN, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with a rate for VGG's layers and one for new layers; what is frozen is left out."""
    model.backbone.freeze(config.frozen_stages)
    for name, module in model.head.named_children():
        is_reached = REACHES[name] >= config.stride
        is_score = name.startswith("score")
        module.requires_grad_(is_reached and (is_score or config.learn_deconvolution))
    pretrained = {id(p) for stage in model.backbone.stages for p in stage.parameters()}
    if config.head == "paper":
        pretrained |= {id(p) for p in model.backbone.classifier.parameters()}
    groups = []
    for is_old, lr in ((True, config.backbone_lr), (False, config.lr)):
        chosen = [p for p in model.parameters() if (id(p) in pretrained) == is_old]
        chosen = [p for p in chosen if p.requires_grad]
        groups.append({"params": chosen, "lr": lr, "initial_lr": lr})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def leave_signals_to_main(worker: int) -> None:
    """Let a loader's process live until the main one ends it: an interrupt is not for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Trainer:
    """A run: what is trained, on what, how far it is, and where it is kept."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.progress = Progress()
        # Without cpu=True, CPU processes that torchrun started would not know of one another.
        is_cpu, precision = not torch.accelerator.is_available(), find_precision(config.precision)
        self.accelerator = Accelerator(cpu=is_cpu, mixed_precision=precision)
        self.train_set, self.val_set = open_splits(config)
        self.run = config.folder()
        if not config.resume and (self.run / "last").exists():
            raise InputError(
                f"{self.run} already holds a run: add --resume to go on with it, or choose another"
                " folder with --output."
            )
        self.micro_batch = split_batch(config, self.accelerator.num_processes)
        torch.manual_seed(config.seed)
        last = self.find_last() if config.resume else None
        self.model = saving.load(last) if last else build_model(config, self.train_set)
        self.model.train()
        self.optimizer = build_optimizer(self.model, config)
        if last:
            self.restore(saving.load_state(last))
        elif not config.init:
            self.calibrate()
        self.model.to(memory_format=torch.channels_last)
        objective = Objective(self.model, config.stride)
        self.objective, self.optimizer = self.accelerator.prepare(objective, self.optimizer)

    def find_last(self) -> Path:
        """The run's last checkpoint."""
        folder = checkpoint.follow(self.run / "last")
        if not folder.is_dir():
            raise InputError(f"{self.run} holds no run to resume; leave out --resume to start one.")
        return folder

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; rates and decay are those of the present config."""
        check_classes(self.model.classes, self.train_set.classes)
        groups, saved = self.optimizer.state_dict()["param_groups"], state["optimizer"]
        if [one["params"] for one in groups] != [one["params"] for one in saved["param_groups"]]:
            raise InputError(
                f"{self.run} trained other layers: --resume needs the same network, --stride,"
                " --frozen-stages and --learn-deconvolution."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
        self.progress = Progress(**state["progress"])

    def samples(self) -> Augmented:
        """The training samples, by (epoch, index)."""
        config = self.config
        size = config.size or self.train_set.size
        transform = training_transform(config.crop, size, config.scale, config.flip, config.color)
        return Augmented(self.train_set, transform, config.seed)

    def batches(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The passes of each step from where the run is, without end."""
        config, accelerator = self.config, self.accelerator
        loader = DataLoader(
            self.samples(),
            batch_size=self.micro_batch,
            sampler=EpochSampler(
                len(self.train_set),
                config.seed,
                start=self.progress.step * config.batch_size,
                rank=accelerator.process_index,
                world=accelerator.num_processes,
            ),
            num_workers=min(os.cpu_count() or 1, 8) if config.workers < 0 else config.workers,
            worker_init_fn=leave_signals_to_main,
            pin_memory=accelerator.device.type == "cuda",
            # Its own generator: a loader without one draws from the one that dropout uses.
            generator=torch.Generator(),
        )
        stream = iter(loader)
        while True:
            yield list(itertools.islice(stream, config.accumulate))

    def step(self, passes: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Take one optimizer step.

        Args:
            passes: This process's (images, labels), one pair per accumulated pass.

        Returns:
            The mean loss over the labelled pixels of all processes, a scalar on the device.
        """
        config, accelerator, progress = self.config, self.accelerator, self.progress
        torch.manual_seed(derived_seed(config.seed, progress.step, accelerator.process_index))
        share = progress.share(config)
        decay = min(1.0, (progress.step + 1) / max(config.warmup, 1)) * (1 - share) ** config.power
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * decay
        labelled = sum((labels != IGNORE_INDEX).sum() for _, labels in passes)
        labelled = accelerator.reduce(torch.as_tensor(labelled).to(accelerator.device)).clamp_min(1)
        total = torch.zeros((), device=accelerator.device)
        for index, (images, labels) in enumerate(passes):
            images = images.to(accelerator.device, memory_format=torch.channels_last)
            # Processes exchange gradients once, in the last pass.
            last = index == len(passes) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.objective):
                loss = self.objective(images, labels.to(accelerator.device)) / labelled
                # Processes average their gradients, but the loss is a sum over all of them.
                accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
        accelerator.clip_grad_norm_(self.objective.parameters(), config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.step += 1
        return accelerator.reduce(total)

    def calibrate(self) -> None:
        """Bring the skips of a fresh network to size, on the first pictures of the split."""
        samples = self.samples()
        images = torch.stack([samples[0, index][0] for index in range(min(4, len(samples)))])
        with torch.no_grad():
            self.model.head.calibrate(self.model.features(images))

    def validate(self) -> float:
        """Score the val split with the weights as they are saved; publish them if they are best.

        Each picture is scored in one of the processes.
        """
        accelerator, progress = self.accelerator, self.progress
        served = saving.rounded(self.model)
        mine = range(accelerator.process_index, len(self.val_set), accelerator.num_processes)
        segmenter = Segmenter.of(served, str(self.run))
        matrix, confidences = evaluate(
            segmenter, self.val_set, progress=accelerator.is_main_process, indices=mine
        )
        counts = torch.from_numpy(matrix.counts).to(accelerator.device)
        matrix.counts = accelerator.reduce(counts).cpu().numpy()
        scores = {"mean_iou": matrix.mean_iou, "pixel_accuracy": matrix.pixel_accuracy}
        progress.history.append({"step": progress.step, **scores})
        if matrix.mean_iou > progress.best and accelerator.is_main_process:
            progress.best = matrix.mean_iou
            served.doubt_below = float(np.quantile(confidences, DOUBTFUL_SHARE))
            metrics = describe(matrix, self.val_set, segmenter)
            self.publish("best", served, metrics)
        if accelerator.is_main_process:
            tqdm.write(f"Step {progress.step} on {self.val_set.split}:\n{matrix.table()}")
        return matrix.mean_iou

    def publish(self, name: str, model: FCN, metrics: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: with its scores as ``best``, with what resuming needs as ``last``."""
        how_far = dataclasses.asdict(self.progress)
        training = report.describe_training(self.config, how_far, self.train_set)

        def fill(folder: Path) -> None:
            saving.write(folder, model)
            checkpoint.write_json(folder / "training.json", training)
            if metrics is None:
                saving.save_state(folder, self.state())
            else:
                checkpoint.write_json(folder / "metrics.json", metrics)
                report.write_report(folder)

        checkpoint.publish(self.run, name, self.progress.step, fill)

    def save(self) -> None:
        """Write a checkpoint that ``--resume`` goes on from."""
        if self.accelerator.is_main_process:
            self.publish("last", self.model)

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }

    def agree(self, stop: bool) -> bool:
        """Take over the main process's clock and its wish to stop, so that all do the same."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([self.progress.seconds, stop], device=self.accelerator.device)
            self.progress.seconds, stop = broadcast(mine).tolist()
        return bool(stop)
