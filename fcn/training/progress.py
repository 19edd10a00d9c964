"""How far a training run is, and how long the rest will take."""

import dataclasses
from dataclasses import dataclass

import torch

from .config import TrainConfig


@dataclass
class Progress:
    """How far a run is; saved with it."""

    step: int = 0
    crops: int = 0  # that all steps took, of whichever batch size each was
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def log(self, loss: float) -> None:
        """Add to the history where the run is."""
        self.history.append({"step": self.step, "loss": loss, "seconds": self.seconds})

    def forget_scores(self) -> None:
        """Forget what was scored, as val has other photos now."""
        self.best = -1.0
        self.history = [one for one in self.history if "mean_iou" not in one]

    @property
    def is_scored(self) -> bool:
        """Whether the weights of this step were scored on val."""
        return any("mean_iou" in one and one["step"] == self.step for one in self.history)

    def share(self, config: TrainConfig) -> float:
        """The part of the budget that is used, from 0 to 1."""
        used = self.step / config.steps
        if config.minutes:
            used = max(used, self.seconds / (60 * config.minutes))
        return min(used, 1.0)


def say_duration(seconds: float) -> str:
    """A duration in the unit that suits it.

    >>> [say_duration(one) for one in (7, 300, 19_000, 500_000)]
    ['7 s', '5 min', '5.3 h', '5.8 days']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def foresee(
    config: TrainConfig, progress: Progress, pace: float, images: int, device: torch.device
) -> str:
    """Say what the rest of a run will take.

    Args:
        config: Of the run.
        progress: How far it is.
        pace: Seconds that a step takes.
        images: Of the training split.
        device: What it runs on.

    Returns:
        The time left; a GPU's memory; on a CPU what an epoch takes, if there is no time limit.
    """
    steps = config.steps - progress.step
    if config.minutes:
        steps = min(steps, round((60 * config.minutes - progress.seconds) / pace))
    epochs = steps * config.batch_size / images
    text = (
        f"About {say_duration(steps * pace)} left for {steps:,} steps, which are {epochs:.1f}"
        f" epochs of {images:,} images; validation, and fitting at the end, are not counted"
    )
    if device.type == "cuda":
        return f"{text}; peak memory {torch.cuda.max_memory_reserved() / 1e9:.1f} GB."
    if config.minutes or device.type != "cpu":
        return text + "."
    epoch = say_duration(images / config.batch_size * pace)
    return (
        f"{text}. This is a CPU, on which an epoch takes {epoch}: --minutes 60 would train for an"
        " hour, over which the rates fall."
    )
