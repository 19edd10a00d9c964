"""Checkpoints: what is written is what is read, old or new and never half."""

import json
from pathlib import Path

import pytest
import torch
from conftest import CLASSES, build_tiny

from fcn import checkpoint
from fcn.errors import InputError
from fcn.model import FCN

IMAGES = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_a_checkpoint_answers_as_its_rounded_network(tmp_path: Path) -> None:
    model = build_tiny(CLASSES)
    checkpoint.write(tmp_path / "c", model)
    loaded = checkpoint.load(tmp_path / "c")
    assert torch.equal(loaded(IMAGES), checkpoint.rounded(model)(IMAGES))
    assert loaded.config == model.config
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


def fill_with(text: str):
    def fill(folder: Path) -> None:
        (folder / "config.json").write_text(text)

    return fill


def test_a_run_a_pointer_and_a_folder_mean_the_same_checkpoint(tmp_path: Path) -> None:
    folder = checkpoint.publish(tmp_path, "best", 10, fill_with("{}"))
    assert {checkpoint.resolve(path) for path in (tmp_path, tmp_path / "best", folder)} == {folder}


def test_publishing_keeps_the_one_before_and_no_more(tmp_path: Path) -> None:
    folders = [checkpoint.publish(tmp_path, "best", n, fill_with(f"{n}")) for n in (1, 2, 2, 3)]
    assert len(set(folders)) == 4
    assert [folder.is_dir() for folder in folders] == [False, False, True, True]
    assert (checkpoint.resolve(tmp_path) / "config.json").read_text() == "3"


def test_a_write_that_dies_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    good = checkpoint.publish(tmp_path, "best", 1, fill_with("good"))

    def die(folder: Path) -> None:
        (folder / "config.json").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.publish(tmp_path, "best", 2, die)
    assert checkpoint.resolve(tmp_path) == good
    assert checkpoint.publish(tmp_path, "best", 2, fill_with("again")).is_dir()
    assert (checkpoint.resolve(tmp_path) / "config.json").read_text() == "again"


@pytest.mark.parametrize("name", ["nowhere", "empty", "file.txt"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("some text")
    with pytest.raises(InputError, match="is not a checkpoint"):
        checkpoint.resolve(tmp_path / name)


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
    checkpoint.write(tmp_path / "c", build_tiny(CLASSES))
    damage(tmp_path / "c")
    with pytest.raises(InputError, match=str(tmp_path / "c")):
        checkpoint.load(tmp_path / "c")


def test_json_documents(tmp_path: Path) -> None:
    assert checkpoint.read_json(tmp_path, "metrics.json") == {}
    checkpoint.write_json(tmp_path / "metrics.json", {"mean_iou": 0.5, "name": "é"})
    assert checkpoint.read_json(tmp_path, "metrics.json") == {"mean_iou": 0.5, "name": "é"}
    for text in ("[1]", "{"):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(InputError, match=r"metrics\.json"):
            checkpoint.read_json(tmp_path, "metrics.json")


def test_state_goes_through_no_pickle(tmp_path: Path) -> None:
    state = {"model": {"w": torch.arange(3.0)}, "progress": {"step": 3, "history": [{"a": 1.0}]}}
    checkpoint.save_state(tmp_path, state)
    assert checkpoint.load_state(tmp_path)["progress"] == state["progress"]
    torch.save({"path": Path("x")}, tmp_path / checkpoint.STATE_NAME)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        checkpoint.load_state(tmp_path)
    with pytest.raises(InputError, match="no run to resume"):
        checkpoint.load_state(tmp_path / "elsewhere")


def test_transfer_keeps_what_fits_and_says_what_it_left() -> None:
    source = build_tiny(["sky", "road", "car"])
    target = FCN(["car", "boat", "sky"], width=16)
    left = checkpoint.transfer(source, target)
    for stage in ("stage1.conv1_1", "stage5.conv5_3"):
        name = f"backbone.{stage}.weight"
        assert torch.equal(target.get_parameter(name), source.get_parameter(name))
    ours, theirs = target.head.score_pool3.weight, source.head.score_pool3.weight
    assert torch.equal(ours[0], theirs[2])
    assert torch.equal(ours[2], theirs[0])
    assert not ours[1].any()
    assert {"class boat", "backbone.classifier.fc6.weight", "head.score_fr.weight"} <= set(left)
    assert "head.score_pool3.weight" not in left
