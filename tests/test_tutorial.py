"""The tutorial: one command makes its pictures and tables; its code is a doctest of its own."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import CLASSES, build_tiny

from docs import tutorial
from fcn.data.shapes import draw_scene
from fcn.demo.subject import Subject
from fcn.segmenter import Segmenter

BLOCK = re.compile(r"<!-- numbers: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\((\S+)\)", text)


def test_the_tutorial_is_whole(root: Path):
    text = tutorial.TEXT.read_text(encoding="utf-8")
    assert all(content.strip() for _, content in BLOCK.findall(text))
    links = re.findall(r"(?<!\w)\[[^\]]*\]\((\S+?)\)", text)
    local = [one for one in links if not one.startswith("https://")]
    assert local and all((root / "docs" / one).is_file() for one in local)
    assert len(pictures(text)) == 6
    assert sum((root / "docs" / one).stat().st_size for one in pictures(text)) < 600_000
    assert "](docs/tutorial.md)" in (root / "README.md").read_text(encoding="utf-8")


def test_one_command_makes_its_pictures_and_tables(tiny_checkpoint: Path, tmp_path: Path):
    text = tmp_path / "tutorial.md"
    shutil.copy(tutorial.TEXT, text)
    tutorial.main(str(tiny_checkpoint), text)
    before, after = tutorial.TEXT.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")
    assert BLOCK.sub("", after) == BLOCK.sub("", before)
    blocks = dict(BLOCK.findall(after))
    assert f"`{tiny_checkpoint}`" in blocks["network"]
    assert "| score_fr | 4 | 2 x 3 | 32 | 36 |" in blocks["shapes"]
    assert "| FCN-8s | 100.0 % |" in blocks["strides"]
    assert {one.name for one in tmp_path.glob("*.jpg")} == set(pictures(after))


def test_strides_that_were_not_trained_are_in_no_table():
    live = Segmenter.of(build_tiny(CLASSES, stride=16), "live")
    _, *rows = tutorial.list_strides(Subject(live, draw_scene(3, 96)[0]))
    assert [row[:2] for row in rows][1:] == [["FCN-16s", "100.0 %"]]


def test_a_text_without_a_place_for_a_table_is_an_error(tmp_path: Path):
    (tmp_path / "text.md").write_text("nothing")
    with pytest.raises(SystemExit, match="0 places for shapes"):
        tutorial.write(tmp_path / "text.md", "shapes", "")
