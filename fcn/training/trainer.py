"""A training run: its batches, steps, scores, looks and state.

The conventions. The loss is the cross-entropy summed over the labelled pixels of a whole step (all
processes, all accumulated passes) and divided by their weight, so how a step is split does not
change it, but for the channels that dropout draws in each pass. All that is random in step n comes
from (seed, n, process), and all that is random in a sample from (seed, epoch, index), so a resumed
run repeats what an uninterrupted one does.
"""

import contextlib
import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast, gather_object
from torch import Tensor
from tqdm import tqdm

from .. import checkpoint, saving
from ..data.samples import derived_seed
from ..errors import InputError
from ..evaluation import EachPhoto, Scored, check_classes, describe, evaluate_strides
from ..export import add_int8
from ..head import Upscore
from ..metrics import ConfusionMatrix
from ..model import FCN
from ..segmentation import Segmentation
from ..segmenter import Segmenter, find_checkpoint
from . import report, tracking
from .album import Album, choose_pictures
from .config import TrainConfig
from .devices import build_accelerator, find_layout, tell
from .feeding import build_samples, draw_passes, open_splits
from .fitting import describe_fitted, find_doubt, fit
from .learning import Objective, build_model, build_optimizer, weigh_classes
from .memory import choose_plan, list_plans
from .progress import Progress

LONGEST_WARMUP = 0.2  # of the budget: some minutes on a CPU may have fewer steps than the warm-up
# When one class for every pixel is no longer the way things begin, and not yet a wasted night.
COLLAPSE_STEPS = range(200, 2001)
COLLAPSE = """\
Step {step}: nearly every pixel of the {count} pictures looked at is called {name!r}. If that stays,
the usual causes are rates that are too high (--lr {lr:g}, --backbone-lr {backbone_lr:g}), label
values that are not what they seem (python -m fcn check tells), or a VGG without its weights
(--backbone-weights {backbone_weights})."""


ENDING = """\
Trained. What it is served with is now fitted on photos of {learns} and {val}, then it is scored."""


class Trainer:
    """A run: what is trained, on what, how far it is, and where it is kept."""

    model: FCN
    optimizer: torch.optim.Optimizer

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.run, self.progress = config, config.folder(), Progress()
        self.accelerator = build_accelerator(config)
        self.layout = find_layout(self.accelerator.device)
        self.last = self.find_last()  # a mistake there is told before anything is downloaded
        self.train_set, self.val_set = open_splits(config)
        sets = {"data": self.train_set, "val_data": self.val_set}
        self.photos = {name: report.describe_photos(one) for name, one in sets.items()}
        plans = list_plans(config, self.accelerator.num_processes)
        if self.accelerator.device.type == "cpu":
            # PyTorch's convolutions there do not work any more in a process that has once run out
            # of memory, so nothing is tried.
            plans = plans[:1]
        pictures = choose_pictures(self.train_set, self.val_set, config.watch)
        self.begin()
        weights = weigh_classes(self.train_set, config.balance)
        self.objective = Objective(self.model, config.stride, weights)
        self.plan = choose_plan(plans, self.objective, config, self.accelerator)
        self.objective.checkpoint_activations(self.plan.recompute)
        prepared = self.accelerator.prepare(self.objective, self.optimizer)
        self.parallel, self.optimizer = prepared
        named = self.train_set.classes, self.train_set.palette
        self.album = Album(self.run / "album", pictures, *named)
        tracking.start(self.accelerator, config.tracker, config.recipe())
        tell(self.plan.describe(self.accelerator.num_processes))

    def begin(self) -> None:
        """Build the network and its optimizer, or read those of the run that goes on."""
        config, last = self.config, self.last
        init = find_checkpoint(config.init)[0] if config.init and not last else None
        self.origin = report.describe_origin(config, last, init)
        torch.manual_seed(config.seed)
        self.model = saving.load(last) if last else build_model(config, self.train_set, init)
        forget_fitted(self.model)
        self.model.train()
        self.optimizer = build_optimizer(self.model, config)
        if last:
            self.restore(saving.load_state(last))
            if changed := config.changes(checkpoint.read_recipe(last)):
                tell(f"Going on with other settings than before: {', '.join(changed)}.")
        elif not config.init:
            self.calibrate()
        self.begun_at = self.progress.step
        self.lay_out()

    def lay_out(self) -> None:
        """Give the weights, and what AdamW keeps of them, the device's memory layout."""
        self.model.to(memory_format=self.layout)
        for layer in self.model.head.modules():
            if isinstance(layer, Upscore):  # a channel each, of whose strides DDP would complain
                layer.weight.data = layer.weight.data.clone(memory_format=torch.contiguous_format)
        for parameter, moments in self.optimizer.state.items():
            # They were saved as they lay on the machine of then, and AdamW's kernels do not ask.
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = torch.empty_like(parameter).copy_(moments[name])

    def find_last(self) -> Path | None:
        """The run's last checkpoint if it is resumed; what is there is never overwritten."""
        if (self.run / checkpoint.CONFIG_NAME).is_file():
            raise InputError(f"{self.run} is a checkpoint, not a run: choose another --output.")
        checkpoint.check_writable(self.run)
        places = {name: checkpoint.follow(self.run / name) for name in checkpoint.POINTERS}
        held = [name for name in places if (places[name] / checkpoint.CONFIG_NAME).is_file()]
        if held == ["best"]:
            raise InputError(
                f"{self.run} holds only the best network of a run: start from it with"
                f" --init {self.run} and another --output."
            )
        if not self.config.resume:
            if held:
                raise InputError(
                    f"{self.run} already holds a run: add --resume to go on with it, or choose"
                    " another folder with --output."
                )
            return None
        if not held:
            raise InputError(f"{self.run} holds no run to resume; leave out --resume to start one.")
        self.config.check_lasting(checkpoint.read_recipe(places["last"]), self.run)
        return places["last"]

    def check_last(self) -> None:
        """Insist that the run's folder is as it was when this one began to read it.

        Raises:
            InputError: If another process has trained there since.
        """
        if self.find_last() != self.last:
            raise InputError(
                f"Another process has trained in {self.run} meanwhile: give the command again."
            )

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; rates and decay are those of the present config."""
        check_classes(self.model.classes, self.train_set.classes)
        self.model.inference_size = self.config.size or self.train_set.size
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        saved = state["optimizer"]["state"]
        self.optimizer.load_state_dict({"state": saved, "param_groups": groups})
        self.progress = Progress(**state["progress"])
        # A run that was killed may have published its best after its state was saved. The score is
        # in training.json, by the measure of a run: metrics.json has that of what was fitted.
        best = checkpoint.read_json(checkpoint.follow(self.run / "best"), "training.json")
        self.progress.best = best.get("best", -1.0)
        if best.get("val_data", self.photos["val_data"]) != self.photos["val_data"]:
            tell("val has other photos than before, so the best score so far does not count.")
            self.progress.forget_scores()

    def batches(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The passes of each step from where the run is, without end.

        Raises:
            InputError: If a file turns out to be damaged; the run is saved first, unless it is of
                several processes and another than the first one meets the file.
        """
        samples, start = build_samples(self.config, self.train_set), self.progress.crops
        try:
            yield from draw_passes(self.config, samples, self.plan, self.accelerator, start)
        except InputError:
            self.save()
            raise

    def step(self, passes: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Take one optimizer step.

        Args:
            passes: This process's (images, labels), one pair per accumulated pass, as ``Augmented``
                gives them.

        Returns:
            The mean loss over the labelled pixels of all processes, a scalar on the device.
        """
        config, accelerator, progress = self.config, self.accelerator, self.progress
        torch.manual_seed(derived_seed(config.seed, progress.step, accelerator.process_index))
        share = progress.share(config)
        risen = max((progress.step + 1) / max(config.warmup, 1), share / LONGEST_WARMUP)
        decay = min(1.0, risen) * (1 - share) ** config.power
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * decay
        device, pinned = accelerator.device, accelerator.device.type == "cuda"
        targets = [labels.to(device, non_blocking=pinned).long() for _, labels in passes]
        labelled = torch.stack([self.objective.labelled(labels) for labels in targets]).sum()
        labelled = accelerator.reduce(labelled).clamp_min(torch.finfo(torch.float32).tiny)
        total = torch.zeros((), device=device)
        for index, ((images, _), labels) in enumerate(zip(passes, targets, strict=True)):
            images = images.to(device, non_blocking=pinned).float() / 255
            images = images.to(memory_format=self.layout)
            # Processes exchange gradients once, in the last pass.
            last = index == len(passes) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.parallel):
                loss = self.parallel(images, labels) / labelled
                # Processes average their gradients, but the loss is a sum over all of them.
                accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
        norm = accelerator.clip_grad_norm_(self.parallel.parameters(), config.clip or math.inf)
        total += 0 * norm  # an update that is no number ends a run as such a loss does
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.step += 1
        progress.crops += config.batch_size
        return accelerator.reduce(total)

    def calibrate(self) -> None:
        """Bring the skips of a fresh network to size, on the first pictures of the split."""
        samples = build_samples(self.config, self.train_set)
        images = torch.stack([samples[0, index][0] for index in range(min(4, len(samples)))])
        with torch.no_grad():
            self.model.head.calibrate(self.model.features(images.float() / 255))

    def score(
        self, segmenter: Segmenter, strides: Sequence[int], each: EachPhoto | None = None
    ) -> dict[int, Scored]:
        """Score the val split; each picture in one of the processes.

        Returns:
            By stride the matrix and the mean confidences of the pictures of all processes.
        """
        accelerator = self.accelerator
        mine = range(accelerator.process_index, len(self.val_set), accelerator.num_processes)
        progress = accelerator.is_main_process
        scored = evaluate_strides(segmenter, self.val_set, strides, progress, mine, each)
        for matrix, confidences in scored.values():
            counts = torch.from_numpy(matrix.counts).to(accelerator.device)
            matrix.counts = accelerator.reduce(counts).cpu().numpy()
            confidences[:] = gather_object(confidences)
        return scored

    def validate(self) -> float:
        """Score the val split with the weights as they are saved; publish them if they are best."""
        progress, is_main = self.progress, self.accelerator.is_main_process
        served = saving.rounded(self.model)
        segmenter = Segmenter.of(served, str(self.run))
        matrix, confidences = self.score(segmenter, (served.stride,))[served.stride]
        scores = {"mean_iou": matrix.mean_iou, "pixel_accuracy": matrix.pixel_accuracy}
        progress.history.append({"step": progress.step, **scores})
        by_class = {f"iou/{name}": iou for name, iou in matrix.per_class_iou.items()}
        told = {name: value for name, value in by_class.items() if value is not None}
        self.accelerator.log({**scores, **told}, step=progress.step)
        if matrix.mean_iou > progress.best:
            progress.best = matrix.mean_iou
            served.doubt_below = find_doubt(confidences)
            if is_main:
                self.publish("best", served, describe(matrix, self.val_set, segmenter))
        if is_main:
            tqdm.write(f"Step {progress.step} on {self.val_set.split}:\n{matrix.table()}")
        return matrix.mean_iou

    def log(self, loss: float) -> None:
        """Add a loss to the history, and to the tracker with the rate of new layers."""
        self.progress.log(loss)
        rate = self.optimizer.param_groups[-1]["lr"]
        self.accelerator.log({"loss": loss, "lr": rate}, step=self.progress.step)

    def look(self) -> None:
        """See what the network makes of a few pictures, and warn if it is the same everywhere."""
        if not self.accelerator.is_main_process:
            return
        step, album = self.progress.step, self.album
        share, name = album.look(Segmenter.of(self.model, str(self.run)), step)
        self.model.train()
        if share > 0.999 and step in COLLAPSE_STEPS:
            told = dataclasses.asdict(self.config)
            count = len(album.pictures)
            tell(COLLAPSE.format(step=step, count=count, name=name, **told))

    def finish(self) -> None:
        """Fit what is fitted on val, score the best weights at every stride, export and report."""
        served = self.best_weights()
        segmenter = Segmenter.of(served, str(self.run))
        trained_at = self.config.size or self.train_set.size
        once, is_main = copy.copy(self.train_set), self.accelerator.is_main_process
        once.pairs = list(dict.fromkeys(once.pairs))  # without --repeat, as `python -m fcn fit`
        tell(ENDING.format(learns=once.split, val=self.val_set.split))
        fitted = fit(segmenter, once, self.val_set, trained_at, is_main)
        # Each process found the same but for rounding; the main one's count.
        send_weights(served)
        chosen = torch.tensor(
            [segmenter.inference_size, segmenter.temperature, segmenter.absent_below]
        )
        size, *others = broadcast(chosen.to(self.accelerator.device)).tolist()
        served.inference_size = round(size)
        served.temperature, served.absent_below = (round(one, 4) for one in others)
        segmenter, ranking = Segmenter.of(served, str(self.run)), []

        def rank(index: int, found: Segmentation, labels: np.ndarray) -> None:
            own = ConfusionMatrix(self.val_set.classes)
            own.update(labels, found.labels)
            if own.counts.any():  # else it has no score, rather than the worst
                ranking.append((own.mean_iou, index))

        scored = self.score(segmenter, segmenter.trained_strides, rank)
        metrics, served.doubt_below = describe_fitted(segmenter, self.val_set, fitted, scored)
        ranking = sorted(gather_object(ranking))
        if is_main:
            self.publish("best", served, metrics)
            folder = checkpoint.resolve(self.run)
            if self.config.export:
                add_int8(folder, once, self.val_set)
            shown = self.album, segmenter, self.val_set, ranking
            report.write_run_report(self.config, folder, *shown)

    def best_weights(self) -> FCN:
        """The network of the best checkpoint, which only the main process can read."""
        is_main = self.accelerator.is_main_process
        model = saving.load(self.run) if is_main else copy.deepcopy(self.model)
        model.presence = None  # it is fitted anew
        send_weights(model.to(self.accelerator.device).to(memory_format=self.layout))
        return model.eval()

    def publish(self, name: str, model: FCN, metrics: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: with its scores as ``best``, with what resuming needs as ``last``."""
        how_far = dataclasses.asdict(self.progress)
        hardware = ""
        if self.progress.step > self.begun_at:  # who only scores what others trained is not told
            place = self.accelerator.device, self.accelerator.num_processes
            hardware = report.describe_hardware(*place)
        told = self.origin, how_far, hardware, self.photos
        training = report.describe_training(self.config, *told)

        def fill(folder: Path) -> None:
            saving.write(folder, model)
            checkpoint.write_json(folder / "training.json", training)
            if metrics is None:
                saving.save_state(folder, self.state())
            else:
                checkpoint.write_json(folder / "metrics.json", metrics)
                report.write_report(folder, self.album.strip("watched"))

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
            mine = torch.tensor(
                [self.progress.seconds, stop],
                dtype=torch.float64,  # where float32 would lose seconds in a run of days
                device=self.accelerator.device,
            )
            self.progress.seconds, stop = broadcast(mine).tolist()
        return bool(stop)


def forget_fitted(model: FCN) -> None:
    """Undo what ``fit`` chose for how a network is served, as its weights are to change."""
    model.temperature, model.absent_below, model.doubt_below = 1.0, 0.0, 0.0
    model.presence = None


def send_weights(model: FCN) -> None:
    """Give the main process's weights to all."""
    for value in model.state_dict().values():
        # Memory is sent as it lies, and with channels last it lies otherwise than as loaded.
        value.copy_(broadcast(value.contiguous()))
