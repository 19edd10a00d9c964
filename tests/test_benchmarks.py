"""The benchmarks whose tables the documentation shows still run; what they measure is not asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from visiting import find_chromium


def rows(root: Path, name: str, *flags: str) -> list[dict[str, Any]]:
    """The table that a benchmark prints."""
    command = [sys.executable, f"benchmarks/{name}.py", "--json", *flags]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


def test_the_page_is_timed(root: Path, tiny_checkpoint: Path):
    find_chromium()
    few = ("--model", str(tiny_checkpoint), "--repeats", "2", "--uploads", "2")
    table = {row["what"]: row["p50"] for row in rows(root, "page", *few)}
    assert all(value > 0 for value in table.values())
    assert table["upload to overlay"] > table["segmentation"]


def test_the_steps_of_an_answer_are_timed(root: Path):
    table = rows(root, "stages", "--repeats", "1")
    for photo in ("640x480", "1632x1224", "4000x3000"):
        assert sum(row["share"] for row in table if row["size"] == photo) == pytest.approx(1)
