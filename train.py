"""Train an FCN: ``python train.py --dataset camvid --data DIR``.

``fcn.training`` has every choice (``config``) and what a run is made of (``trainer``); here are the
loop, which is one for a CPU, a GPU and many of them, and the command line.
"""

import argparse
import math
import os
import shlex
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Self

try:
    import torch
    from accelerate import PartialState
except ModuleNotFoundError as error:
    told = f"Training needs the package {error.name}: pip install -r requirements.txt"
    raise SystemExit(told) from error
from tqdm import tqdm

from fcn import checkpoint
from fcn.errors import InputError, describe, first_line, show_any_text
from fcn.hub import refresh
from fcn.training import album
from fcn.training.config import TrainConfig, add_flags, read_config
from fcn.training.devices import is_lost_peer
from fcn.training.feeding import is_lost_reader
from fcn.training.memory import is_out_of_memory
from fcn.training.progress import foresee
from fcn.training.trainer import Trainer

LOG_EVERY = 10


class StopSignal:
    """Turns the first Ctrl-C or termination into a wish; a later one is obeyed at once.

    One that follows within a second is the same again: a launcher passes on what reached its
    processes already.
    """

    def __init__(self) -> None:
        self.wanted, self.since = False, 0.0
        self.before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> Self:
        for kind in self.before:
            signal.signal(kind, self.note)
        return self

    def __exit__(self, *error: object) -> None:
        for kind, handler in self.before.items():
            signal.signal(kind, handler)

    def note(self, kind: int, frame: FrameType | None) -> None:
        """Note the wish, or do what the signal does without this."""
        if not self.wanted:
            self.wanted, self.since = True, time.monotonic()
            tqdm.write("Stopping soon; the run is to be saved first.", file=sys.stderr)
        elif time.monotonic() - self.since > 1:
            self.__exit__()
            signal.raise_signal(kind)


class ProgressBar:
    """The share of the budget that is used, the time left, the loss and the speed.

    The first steps are slow, and pictures are looked at between them. So the speed is counted
    anew from the third time shown on, and the fourth time a line says what the run will take.
    """

    def __init__(self, config: TrainConfig, trainer: Trainer) -> None:
        self.config, self.progress = config, trainer.progress
        self.images, self.device, self.shown = len(trainer.train_set), trainer.accelerator.device, 0
        self.first = self.progress.step, self.progress.seconds
        self.bar = tqdm(
            total=100,
            initial=100 * self.progress.share(config),
            disable=not trainer.accelerator.is_main_process,
            mininterval=0.1 if sys.stderr.isatty() else 30,
            bar_format="{percentage:3.0f}% |{bar:20}| {elapsed} used, {remaining} left{postfix}",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def show(self, loss: float) -> None:
        """Bring the bar up to date."""
        steps, seconds = self.progress.step - self.first[0], self.progress.seconds - self.first[1]
        speed = steps * self.config.batch_size / max(seconds, 1e-9)
        if self.shown == 2:
            self.first = self.progress.step, self.progress.seconds
        share = self.progress.share(self.config)
        if self.shown == 3 and share < 1 and not self.bar.disable:
            told = foresee(self.config, self.progress, seconds / steps, self.images, self.device)
            tqdm.write(told, file=sys.stderr)
        self.shown += 1
        text = f"step {self.progress.step}, loss {loss:.3f}, {speed:.1f} images/s"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(100 * share - self.bar.n)


def check_finite(loss: float, step: int, config: TrainConfig) -> None:
    """Stop a run whose loss is no number any more.

    Raises:
        InputError: With the step, the likely cause and where the last checkpoint is.
    """
    if not math.isfinite(loss):
        raise InputError(
            f"the loss is {loss} near step {step}, most likely because the rates are too high:"
            f" lower --lr (now {config.lr:g}) and --backbone-lr (now {config.backbone_lr:g}), then"
            f" --resume goes on from the last good checkpoint in {config.folder()}, if it has one."
        )


def train(config: TrainConfig) -> Path:
    """Train until the budget is used, then fit, score and export what is best.

    Returns:
        The run's folder: ``best`` in it is the checkpoint to serve, ``last`` the one to resume.

    Raises:
        InputError: For a mistake in the config or the data, a folder in which another process
            trains, and a loss that is not finite. The last checkpoint stays as it is.
        KeyboardInterrupt: If the run was told to stop; it is saved first.
    """
    trainer = Trainer(config)
    progress, is_main = trainer.progress, trainer.accelerator.is_main_process
    with checkpoint.claimed(config.folder()) if is_main else nullcontext():
        if is_main:
            trainer.check_last()
            if not config.resume:
                trainer.album.clear()
        # A run that goes on may have been killed while it was scored, or have a lower budget now.
        is_due = progress.step > 0 and progress.step % config.eval_every == 0
        if (is_due or progress.share(config) == 1) and not progress.is_scored:
            trainer.validate()
            trainer.save()
        learn(trainer)
        trainer.finish()
    trainer.accelerator.end_training()
    return config.folder()


def learn(trainer: Trainer) -> None:
    """Take steps until the budget is used: the loop itself; raises as ``train`` does."""
    config = trainer.config
    # Steps of a GPU are quick, and to look at a loss is to wait for it; a CPU's may take a minute.
    check_every = 1 if trainer.accelerator.device.type == "cpu" else LOG_EVERY
    is_alone = trainer.accelerator.num_processes == 1  # else all stop after the same step
    progress, clock = trainer.progress, time.perf_counter()
    saved, losses = clock, []
    with StopSignal() as stop, ProgressBar(config, trainer) as bar:
        # A run that used its budget up may have failed at its end, which is all that is left then.
        for passes in trainer.batches() if progress.share(config) < 1 else ():
            losses.append(trainer.step(passes))
            is_due = progress.step % config.eval_every == 0
            is_last = progress.step == config.steps or (stop.wanted and is_alone)
            if progress.step % check_every and not is_due and not is_last:
                continue
            loss = float(torch.stack(losses).mean())  # waits for a GPU, whose time then counts
            now = time.perf_counter()
            progress.seconds += now - clock
            clock = now
            is_stopped = trainer.agree(stop.wanted)
            is_done = progress.share(config) == 1
            is_saved = is_done or is_stopped or now - saved > 60 * config.save_minutes
            if progress.step % LOG_EVERY and not is_due and not is_saved:
                continue
            losses.clear()
            check_finite(loss, progress.step, config)
            trainer.log(loss)
            bar.show(loss)
            if is_done or album.is_due(progress.step):
                trainer.look()
            if is_due or is_done:
                trainer.save()  # what goes wrong on val loses nothing that was learnt
                trainer.validate()
            if is_due or is_saved:
                trainer.save()
                saved = now
            if is_stopped or (is_done and trainer.agree(stop.wanted)):
                trainer.accelerator.wait_for_everyone()  # a launcher ends all when one leaves
                raise KeyboardInterrupt
            if is_done:
                break
            clock = time.perf_counter()  # looking, scoring and saving are not training


def parse(arguments: list[str] | None) -> TrainConfig:
    """The config that a command line asks for: ``--config``'s fields, then the flags'."""
    parser = argparse.ArgumentParser(
        description="Train a fully convolutional network for semantic segmentation.",
        epilog="Example: python train.py --dataset shapes --init checkpoints/street --crop 96 96"
        " --minutes 5",
    )
    help = "JSON file with any of these fields, or a checkpoint or run to repeat; flags override it"
    parser.add_argument("--config", type=Path, metavar="FILE", help=help)
    add_flags(parser)
    flags = vars(parser.parse_args(arguments))
    file = flags.pop("config")
    if flags.get("batch_size") == "auto":  # as many crops as the recipe says, split so as to fit
        if flags.get("accumulate"):
            raise InputError("--batch-size auto finds the passes itself: leave --accumulate out.")
        flags = {**flags, "accumulate": 0}
        del flags["batch_size"]
    return TrainConfig(**{**(read_config(file) if file else {}), **flags})


def explain(error: RuntimeError | MemoryError, config: TrainConfig) -> str:
    """Say what a failure that is no bug means and what to do, or nothing if it is one."""
    if is_out_of_memory(error):
        height, width = config.crop
        return (
            f"The memory is too small for this step ({first_line(error)}). Give --accumulate a"
            f" higher number (now {config.accumulate}, where 0 finds one), or lower --crop"
            f" (now {height} {width}) or --batch-size (now {config.batch_size})."
        )
    if is_lost_reader(error):
        return (
            "A process that reads photos was killed, most likely for want of memory. Lower"
            f" --workers (now {config.workers}), or give a container more shared memory (docker run"
            " --shm-size 8g); --resume goes on from the last checkpoint in"
            f" {config.folder()}, if it has one."
        )
    if is_lost_peer(error):
        return (
            f"Another process of this run died, or cannot be reached ({first_line(error)}). Its own"
            " message may say why. The same command with --resume goes on from the last checkpoint"
            f" in {config.folder()}, if it has one."
        )
    return ""


def is_first() -> bool:
    """Whether this is the first process of its launch, as is known before they find one another."""
    return os.environ.get("RANK", "0") == "0"


def explain_stop(config: TrainConfig) -> str:
    """Say how a run that was told to stop goes on."""
    if (config.folder() / "last").exists():
        return (
            "Stopped. The same command with --resume goes on from the last checkpoint in"
            f" {config.folder()}. With --minutes less than it has had, too, it is only scored and"
            " finished."
        )
    return "Stopped before there was a checkpoint. The same command starts again."


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    show_any_text()
    config = None
    try:
        config = parse(arguments)
        if is_first():
            refresh.check(config.push, config.space)
        run = train(config)
        if not PartialState().is_main_process:
            return 0
        print(f"Saved in {run}. See it: python app.py --model {shlex.quote(str(run))}")
        if config.push:
            refresh.publish(run, config.push, config.space, config.force)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(describe(error), file=sys.stderr)
        return 1
    except (RuntimeError, MemoryError) as error:
        if config is None or not (told := explain(error, config)):
            raise
        print(told, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if config is not None and is_first():
            print(explain_stop(config), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
