"""The config as flags and as a file."""

import dataclasses
import json
from dataclasses import MISSING
from pathlib import Path
from unittest.mock import Mock

import pytest

import train
from fcn import checkpoint
from fcn.errors import InputError
from fcn.training.config import TrainConfig, read_config


def test_every_field_is_a_flag_that_says_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(TrainConfig):
        assert "--" + field.name.replace("_", "-") in text
        assert field.metadata["help"] in text
    said = [one for one in dataclasses.fields(TrainConfig) if one.default not in ("", MISSING)]
    assert text.count("(default: ") == len(said)


def test_flags_become_the_config() -> None:
    flags = "--dataset camvid --crop 224 288 --scale 0.5 2 --classes a b --no-flip --lr 1e-3"
    config = train.parse(flags.split())
    assert (config.dataset, config.crop, config.scale) == ("camvid", (224, 288), (0.5, 2.0))
    assert (config.classes, config.flip, config.lr) == (["a", "b"], False, 1e-3)
    assert dataclasses.replace(TrainConfig(), dataset="camvid").steps == config.steps


def test_lists_that_are_given_twice_add_up() -> None:
    flags = "--repeat a=3 --repeat b=2 c=2 --classes cat --classes dog --watch x.jpg --watch y.jpg"
    config = train.parse(flags.split())
    assert config.repeat == ["a=3", "b=2", "c=2"]
    assert (config.classes, config.watch) == (["cat", "dog"], ["x.jpg", "y.jpg"])


def test_a_config_file_repeats_a_run_and_flags_go_first(tmp_path: Path) -> None:
    config = TrainConfig(dataset="shapes", crop=(64, 96), classes=["circle"], seed=7)
    file = tmp_path / "training.json"
    file.write_text(json.dumps({"config": config.recipe(), "history": []}))
    assert train.parse(["--config", str(file)]) == config
    changed = train.parse(["--config", str(file), "--seed", "8"])
    assert changed == dataclasses.replace(config, seed=8)
    file.write_text(json.dumps({"seed": 3}))
    assert train.parse(["--config", str(file)]) == TrainConfig(seed=3)


def test_a_config_may_be_a_run_or_a_checkpoint(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        checkpoint.write_json(folder / "config.json", {})
        checkpoint.write_json(folder / "training.json", {"config": {"seed": 7}})

    run = tmp_path / "run"
    folder = checkpoint.publish(run, "last", 1, fill)
    for given in (run, run / "last", folder):
        assert read_config(given) == {"seed": 7}
        assert read_config(given / "training.json") == {"seed": 7}
    (folder / "training.json").unlink()
    for given in (run, tmp_path / "none.json", tmp_path / "none" / "training.json"):
        with pytest.raises(InputError, match=r"json does not exist\.$"):
            read_config(given)
    with pytest.raises(InputError, match=r"has no config\.json"):
        read_config(tmp_path)


def test_lists_of_a_file_can_be_emptied(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    file.write_text(json.dumps({"classes": ["cat"], "repeat": ["cat_*=2"]}))
    flags = ["--config", str(file), "--classes", "--repeat"]
    assert train.parse(flags) == TrainConfig()


def test_how_a_machine_splits_a_step_is_not_in_the_recipe() -> None:
    split = TrainConfig(accumulate=4, checkpoint_activations=True)
    assert split.recipe() == TrainConfig().recipe()


def test_an_automatic_batch_keeps_the_recipe_and_finds_how_to_split_it(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    file.write_text(json.dumps({"batch_size": 12, "accumulate": 3}))
    config = train.parse(["--config", str(file), "--batch-size", "auto"])
    assert (config.batch_size, config.accumulate) == (12, 0)
    assert train.parse(["--batch-size", "auto"]) == TrainConfig()
    assert train.parse(["--batch-size", "6"]).batch_size == 6
    with pytest.raises(InputError, match="leave --accumulate out"):
        train.parse(["--batch-size", "auto", "--accumulate", "4"])


def test_a_checkpoint_does_not_say_where_it_is_pushed(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    file.write_text('{"config": {"steps": 3, "push": "me/net", "force": true}}')
    with pytest.raises(InputError, match="sets force, push, which is for the command line alone"):
        read_config(file)
    file.write_text('{"steps": 3, "push": "me/net"}')  # one of the trainer's own
    assert read_config(file) == {"steps": 3, "push": "me/net"}


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"config": 3}', '{"config": []}', '{"sede": 1}', 100_000 * "["]
)
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(file)


def test_a_stop_before_there_is_a_config_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "parse", Mock(side_effect=KeyboardInterrupt))
    assert train.main([]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"steps": "many"}', "steps is 'many'"),
        ('{"crop": 64}', "crop is 64"),
        ('{"head": "tiny"}', "head is 'tiny', but must be one of compact, paper"),
        ('{"stride": 9}', "stride is 9, but must be one of"),
    ],
)
def test_a_config_file_takes_what_the_flags_take(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(InputError, match=told):
        read_config(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": -1},
        {"crop": (0, 10)},
        {"scale": (2, 1)},
        {"frozen_stages": 6},
        {"accumulate": -1},
        {"lr": float("nan")},
        {"backbone_lr": -1e-5},
        {"clip": -1.0},
        {"minutes": float("nan")},
        {"seed": -1},
        {"seed": 2**63},
        {"width": 8193},
        {"size": 8193},
        {"dropout": 1.0},
        {"color": -0.1},
        {"workers": -5},
        {"save_minutes": float("inf")},
        {"scale": (0.5, float("inf"))},
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--"):
        TrainConfig(**changes)
