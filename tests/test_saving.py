"""Networks on disk: what is written is what is read, or one sentence says why not."""

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import CLASSES, build_tiny

from fcn import saving
from fcn.errors import InputError
from fcn.model import FCN

IMAGES = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_a_checkpoint_answers_as_its_rounded_network(tmp_path: Path) -> None:
    model = build_tiny(CLASSES)
    saving.write(tmp_path / "c", model)
    loaded = saving.load(tmp_path / "c")
    assert torch.equal(loaded(IMAGES), saving.rounded(model)(IMAGES))
    assert loaded.config == model.config
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


def damage_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"classes": [')


def add_a_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"classes": [*CLASSES, "extra"], "palette": None}
    (folder / "config.json").write_text(json.dumps(config))


def empty_config(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def delete_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "damage", [damage_weights, damage_config, add_a_class, empty_config, delete_weights]
)
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, damage) -> None:
    saving.write(tmp_path / "c", build_tiny(CLASSES))
    damage(tmp_path / "c")
    with pytest.raises(InputError, match=str(tmp_path / "c")):
        saving.load(tmp_path / "c")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """A disk that takes no file of more than some bytes; so short that no report is written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    model, told = build_tiny(CLASSES), rf"{tmp_path} cannot be written: is the disk full\?"
    with pytest.raises(InputError, match=told), full_disk():
        saving.write(tmp_path, model)
    with pytest.raises(InputError, match=told), full_disk():
        saving.save_state(tmp_path, {"weights": torch.zeros(100_000)})


def test_state_goes_through_no_pickle(tmp_path: Path) -> None:
    state = {"model": {"w": torch.arange(3.0)}, "progress": {"step": 3, "history": [{"a": 1.0}]}}
    saving.save_state(tmp_path, state)
    assert saving.load_state(tmp_path)["progress"] == state["progress"]
    torch.save({"path": Path("x")}, tmp_path / saving.STATE_NAME)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        saving.load_state(tmp_path)
    with pytest.raises(InputError, match="no run to resume"):
        saving.load_state(tmp_path / "elsewhere")
    whole = (tmp_path / saving.STATE_NAME).read_bytes()
    (tmp_path / saving.STATE_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged or cut short"):
        saving.load_state(tmp_path)


def test_transfer_keeps_what_fits_and_says_what_it_left() -> None:
    source = build_tiny(["sky", "road", "car"])
    target = FCN(["car", "boat", "sky"], width=16)
    left = saving.transfer(source, target)
    for stage in ("stage1.conv1_1", "stage5.conv5_3"):
        name = f"backbone.{stage}.weight"
        assert torch.equal(target.get_parameter(name), source.get_parameter(name))
    ours, theirs = target.head.score_pool3.weight, source.head.score_pool3.weight
    assert torch.equal(ours[0], theirs[2])
    assert torch.equal(ours[2], theirs[0])
    assert not ours[1].any()
    assert {"class boat", "backbone.classifier.fc6.weight", "head.score_fr.weight"} <= set(left)
    assert "head.score_pool3.weight" not in left


@torch.inference_mode()
def test_vgg16_answers_the_same_in_a_vgg19() -> None:
    source = build_tiny(CLASSES).eval()
    target = FCN(CLASSES, backbone="vgg19", width=8).eval()
    left = saving.transfer(source, target)
    assert torch.equal(target(IMAGES), source(IMAGES))
    assert "backbone.stage5.conv5_4.weight" in left
