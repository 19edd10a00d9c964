"""The classifier of whole pictures: what it sees, that it learns, and that it is kept."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny

from fcn import saving
from fcn.checkpoint import CONFIG_NAME
from fcn.errors import InputError
from fcn.export import export_checkpoint
from fcn.inference.engines import ENGINES, load_engine
from fcn.inference.fusion import MAPS
from fcn.presence import Presence, pool
from fcn.vgg import Features


def test_pooled_are_mean_and_maximum_of_each_channel():
    pool4, pool5 = torch.rand(2, 512, 4, 6), torch.rand(2, 512, 2, 3)
    pooled = pool(Features(torch.empty(0), pool4, pool5, torch.empty(0)))
    assert pooled.shape == (2, 2048)
    for first, tap in ((0, pool4), (1024, pool5)):
        torch.testing.assert_close(pooled[:, first + 3], tap[:, 3].mean((1, 2)))
        torch.testing.assert_close(pooled[:, first + 515], tap[:, 3].amax((1, 2)))


def fitted(pooled: torch.Tensor, shown: torch.Tensor) -> Presence:
    presence = Presence(shown.shape[1])
    presence.fit(pooled, shown)
    return presence


def test_it_learns_what_a_photo_shows_and_learns_it_again():
    torch.manual_seed(0)
    pooled = 50 + 20 * torch.randn(800, 2048)
    shown = torch.rand(800, 3) < torch.tensor([0.1, 0.5, 0.9])
    # Each is told by some features, those of the first by small ones.
    for index, scale in enumerate((0.02, 20, 20)):
        own = slice(100 * index, 100 * index + 50)
        pooled[:, own] *= scale / 20
        pooled[:, own] += scale * shown[:, index, None]
    presence = fitted(pooled[:600], shown[:600].float())
    with torch.no_grad():
        logits = pooled @ presence.weight.T + presence.bias
        mean_photo = pooled[:600].mean(0) @ presence.weight.T + presence.bias
    for one, is_shown in zip(logits[600:].T, shown[600:].T, strict=True):
        assert (one[is_shown, None] > one[~is_shown]).float().mean() > 0.97
    # However often a class was shown.
    assert mean_photo.tolist() == pytest.approx([0, 0, 0], abs=0.01)
    again = fitted(pooled[:600], shown[:600].float())
    assert torch.equal(again.weight, presence.weight) and torch.equal(again.bias, presence.bias)


def test_one_photo_is_enough():
    presence = fitted(torch.rand(1, 2048), torch.tensor([[1.0, 0.0]]))
    assert presence.weight.isfinite().all() and presence.bias.isfinite().all()


def test_calibrated_it_tells_how_probable_a_class_is() -> None:
    """It says too much of all, of the second class too seldom yes and of the third too often."""
    torch.manual_seed(0)
    pooled, presence = torch.randn(2000, 2048), Presence(3)
    torch.nn.init.normal_(presence.weight, std=0.1)
    before = pooled @ presence.weight.T
    highest = torch.rand(2000, 3).sqrt()
    true = highest * torch.sigmoid(0.4 * before + torch.tensor([0.0, 2.0, -1.0]))
    presence.calibrate(before, highest, (torch.rand(2000, 3) < true).float())
    told = highest * torch.sigmoid(pooled @ presence.weight.T + presence.bias)
    assert (told - true).abs().mean() < 0.02
    assert (highest * torch.sigmoid(before) - true).abs().mean() > 0.1  # as it was


def test_calibrated_by_few_photos_it_stays_near_what_it_was() -> None:
    presence = Presence(2)
    torch.nn.init.ones_(presence.weight)
    logits = torch.tensor([[9.0, -9.0]] * 3)
    presence.calibrate(logits, torch.ones(3, 2), torch.tensor([[1.0, 0.0]] * 3))
    assert 0.5 < presence.weight.mean() < 2 and presence.bias.abs().max() < 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose network tells presence, with its int8 file."""
    model = build_tiny(CLASSES, presence=True)
    torch.nn.init.normal_(model.presence.weight, std=1e-3)
    torch.nn.init.normal_(model.presence.bias)
    folder = tmp_path_factory.mktemp("presence") / "tiny"
    saving.write(folder, model)
    images = [
        np.random.default_rng(seed).integers(0, 255, (96, 64, 3), np.uint8) for seed in (0, 1)
    ]
    export_checkpoint(folder, images)
    return folder


@pytest.mark.parametrize("size", [(96, 64), (1, 1), (33, 130)])
def test_engines_tell_the_same(folder: Path, size: tuple[int, int]):
    image = np.random.default_rng(2).integers(0, 255, (*size, 3), np.uint8)
    int8, exact = (load_engine(folder, name, "cpu").maps(image) for name in ENGINES)
    assert set(int8) == set(exact) == {*MAPS, "presence"}
    assert int8["presence"].shape == exact["presence"].shape == (len(CLASSES),)
    difference = np.abs(int8["presence"] - exact["presence"]).mean()
    assert difference < 0.2 * exact["presence"].std() + 0.1


def test_scores_come_with_probabilities(folder: Path):
    image = np.random.default_rng(2).integers(0, 255, (64, 96, 3), np.uint8)
    engine = load_engine(folder, "torch", "cpu")
    logits = engine.maps(image)["presence"]
    for scores in engine.scores(image, [8, 32]).values():
        assert scores.presence == pytest.approx(torch.sigmoid(torch.tensor(logits)).numpy())


def test_a_file_without_it_is_refused(folder: Path, tiny_int8: Path, tmp_path: Path):
    other = shutil.copytree(tiny_int8, tmp_path / "tiny")
    shutil.copy(folder / CONFIG_NAME, other)
    with pytest.raises(InputError, match="of another network"):
        load_engine(other, "onnx")
