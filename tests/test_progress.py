"""How long a run takes, in words."""

from typing import Any

import pytest
import torch

from fcn.training.config import TrainConfig
from fcn.training.progress import LONGEST, Progress, foresee


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


def test_a_long_history_keeps_its_scores_and_every_other_loss() -> None:
    progress, scores = Progress(), []
    for step in range(3 * LONGEST):
        progress.step = step
        progress.log(0.5)
        assert progress.history[-1]["step"] == step
        if step % 1000 == 0:
            scores.append({"step": step, "mean_iou": 0.5, "pixel_accuracy": 0.5})
            progress.history.append(scores[-1])
    steps = [one["step"] for one in progress.history]
    assert LONGEST / 2 < len(steps) <= LONGEST and steps == sorted(steps)
    assert [one for one in progress.history if "mean_iou" in one] == scores
    assert steps[0] == 0
