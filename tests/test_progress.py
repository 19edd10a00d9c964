"""How long a run takes, in words."""

from typing import Any

import numpy as np
import pytest
import torch

from fcn.training.config import TrainConfig
from fcn.training.progress import Progress, foresee
from fcn.training.report import describe_training


@pytest.mark.parametrize(
    ("changes", "pace", "words"),
    [
        ({}, 0.5, "About 2.8 h left for 19,980 steps, which are 15.8 epochs of 20,210 images"),
        ({}, 0.5, "on which an epoch takes 11 min: --minutes 60 would train for an hour"),
        ({"minutes": 60}, 0.5, "About 60 min left for 7,180 steps, which are 5.7 epochs"),
        ({"steps": 120, "minutes": 60}, 0.5, "About 50 s left for 100 steps"),
        ({"batch_size": 2}, 60, "an epoch takes 7.0 days"),
    ],
)
def test_a_run_says_what_it_will_take(changes: dict[str, Any], pace: float, words: str) -> None:
    config = TrainConfig(**{"steps": 20000, **changes})
    text = foresee(config, Progress(step=20, seconds=10), pace, 20210, torch.device("cpu"))
    assert words in text
    assert ("--minutes" in text) == (not config.minutes)
    assert "are not counted" in text


@pytest.mark.parametrize(("losses", "kept"), [(0, 0), (10_000, 10_000), (25_001, 8_334)])
def test_of_a_long_history_losses_are_left_out_evenly_and_no_score(losses: int, kept: int) -> None:
    history: list[dict[str, float]] = [{"step": 10 * one, "loss": 0.5} for one in range(losses)]
    scores = [{"step": step, "mean_iou": 0.5} for step in range(0, 10 * losses, 4000)]
    how_far = {"step": 10 * losses, "history": history + scores}
    origin = {"hardware": "", "torch": ""}
    thinned = describe_training(TrainConfig(), origin, how_far, "", {})["history"]
    assert [one for one in thinned if "mean_iou" in one] == scores
    steps = [one["step"] for one in thinned if "loss" in one]
    assert len(steps) == kept and len(set(np.diff(steps))) <= 1
    assert not steps or steps[-1] == 10 * (losses - 1)
