"""What of a config.json is believed."""

from typing import Any

import pytest
from conftest import CLASSES, build_tiny

from fcn import checkpoint
from fcn.errors import InputError
from fcn.segmenter import Segmenter
from fcn.served import check

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "classes that are numbers": ({"classes": [1, 2]}, r"classes\.0"),
    "no classes": ({"classes": []}, "classes"),
    "no list of classes": ({"classes": None}, "classes"),
    "more classes than labels": ({"classes": [str(one) for one in range(255)]}, "classes"),
    "a class without end": ({"classes": ["x" * 201, *CLASSES[1:]]}, r"classes\.0"),
    "a class for a terminal": ({"classes": ["\x1b[2J", *CLASSES[1:]]}, r"classes\.0"),
    "a class twice": ({"classes": ["sky"] * len(CLASSES)}, "not distinct"),
    "colours of two channels": ({"palette": [[1, 2]] * len(CLASSES)}, r"palette\.0"),
    "colours beyond 255": ({"palette": [[999, 0, 0]] * len(CLASSES)}, r"palette\.0\.0"),
    "too few colours": ({"palette": [[0, 0, 0]]}, f"1 colours for {len(CLASSES)} classes"),
    "a stride in words": ({"stride": "8"}, "8, 16 or 32"),
    "a size in words": ({"inference_size": "big"}, "inference_size"),
    "a size below nothing": ({"inference_size": -1}, "inference_size"),
    "a size without end": ({"inference_size": 10**9}, "inference_size"),
    "no temperature": ({"temperature": 0}, "temperature"),
    "a temperature that is none": ({"temperature": float("nan")}, "temperature"),
    "a threshold of nothing": ({"absent_below": None}, "absent_below"),
    "doubt in words": ({"doubt_below": "x"}, "doubt_below"),
    "presence in words": ({"presence": "x"}, "presence"),
    "division by zero": ({"std": [0, 1, 1]}, r"std\.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_config_that_nothing_can_be_served_by_is_refused(case: str, tmp_path) -> None:
    change, told = BAD[case]
    with pytest.raises(InputError, match=rf"config\.json cannot be served \(.*{told}"):
        check(build_tiny(CLASSES).config | change, tmp_path)


def test_whole_numbers_and_an_older_config_are_fine(tmp_path) -> None:
    config = build_tiny(CLASSES).config | {"temperature": 1, "palette": None}
    del config["absent_below"]
    check(config, tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"width": 10**6}, {"width": "wide"}, {"classes": [str(one) for one in range(10**5)]}],
    ids=["width", "words", "classes"],
)
def test_what_would_take_all_memory_is_not_built(
    change: dict[str, Any], tiny_checkpoint, tmp_path, monkeypatch
) -> None:
    for file in tiny_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = checkpoint.read_json(tiny_checkpoint, "config.json")
    checkpoint.write_json(tmp_path / "config.json", config | change)
    monkeypatch.delattr("fcn.saving.load")
    with pytest.raises(InputError, match=r"cannot be served \((width|classes)"):
        Segmenter.load(tmp_path, "torch")


def test_a_checkpoint_is_checked_when_it_is_loaded(tiny_checkpoint, tmp_path) -> None:
    config = checkpoint.read_json(tiny_checkpoint, "config.json")
    for file in tiny_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    checkpoint.write_json(tmp_path / "config.json", config | {"doubt_below": "x"})
    with pytest.raises(InputError, match="doubt_below"):
        Segmenter.load(tmp_path)
