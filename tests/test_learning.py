"""What learns: class weights by hand and the weighted loss."""

import numpy as np
import pytest
import torch
from conftest import build_tiny

from fcn.data.datasets import SegmentationDataset, open_dataset
from fcn.metrics import IGNORE_INDEX
from fcn.training.config import TrainConfig
from fcn.training.learning import Objective, build_optimizer, weigh_classes


class Masks(SegmentationDataset):
    """Three classes: one everywhere, one rare, one never."""

    def __init__(self, *masks: list[list[int]]) -> None:
        self.classes, self.masks = ("sky", "car", "boat"), masks

    def __len__(self) -> int:
        return len(self.masks)

    def read_labels(self, index: int) -> np.ndarray:
        return np.array(self.masks[index], np.uint8)


@pytest.mark.parametrize(("balance", "power"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_weights_are_median_frequencies(balance: float, power: float) -> None:
    masks = Masks([[0, 0, 0, 1]], [[0, 0, 255, 255]])
    sky, car = 5 / 6, 1 / 4  # of the labelled pixels of the pictures that show them
    median = (sky + car) / 2
    rare = (median / car) ** power
    expected = [(median / sky) ** power, rare, rare]  # what was not seen is rare, too
    assert weigh_classes(masks, balance).tolist() == pytest.approx(expected)


def test_rare_classes_of_real_scenes_weigh_more() -> None:
    weights = weigh_classes(open_dataset("shapes", "", "val"), 1.0)
    assert weights[0] == weights.min()  # background


def test_the_weighted_loss_is_a_weighted_mean() -> None:
    model = build_tiny(["a", "b"])
    images, labels = torch.rand(2, 3, 24, 30), torch.randint(0, 2, (2, 24, 30))
    labels[:, :10] = IGNORE_INDEX
    weights = torch.tensor([0.5, 3.0])
    objective = Objective(model, 32, weights)
    with torch.no_grad():
        loss = objective(images, labels) / objective.labelled(labels)
        expected = torch.nn.functional.cross_entropy(
            model(images, 32), labels, weights, ignore_index=IGNORE_INDEX
        )
    torch.testing.assert_close(loss, expected)


def test_ignored_pixels_weigh_nothing() -> None:
    objective = Objective(build_tiny(["a", "b"]), 8, torch.tensor([2.0, 3.0]))
    labels = torch.tensor([[0, 1, 1, IGNORE_INDEX]])
    assert float(objective.labelled(labels)) == 8


def gradients(objective: Objective, recompute: bool) -> tuple[list[torch.Tensor], int]:
    """Gradients of a step with dropout, and how many bytes are kept for backward."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.data_ptr()] = value.nbytes
        return value

    torch.manual_seed(0)
    images, labels = torch.rand(2, 3, 64, 64), torch.randint(0, 40, (2, 64, 64))
    objective.checkpoint_activations(recompute)
    objective.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        loss = objective(images, labels)
    loss.backward()
    return [p.grad for p in objective.parameters() if p.grad is not None], sum(kept.values())


def test_activations_computed_again_change_memory_and_no_gradient() -> None:
    model = build_tiny([str(i) for i in range(40)], dropout=0.5).train()
    build_optimizer(model, TrainConfig(frozen_stages=2))
    objective = Objective(model, 8, torch.ones(40))
    (plain, much), (again, little) = (gradients(objective, one) for one in (False, True))
    assert len(plain) == len(again)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    weights = sum(p.nbytes for p in model.parameters())
    assert little - weights < 0.3 * (much - weights)
