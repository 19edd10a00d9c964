"""What the repository promises: its README, its map of the code, its bundled weights."""

import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, RepoCard

import train
from fcn import checkpoint, saving
from fcn.training.config import TrainConfig

BUNDLED = sorted((Path(__file__).parent.parent / "checkpoints").glob("*/"))


def test_the_readme_is_a_space_header(root: Path) -> None:
    data = RepoCard.load(root / "README.md").data.to_dict()
    assert data["sdk"] == "gradio"
    assert (root / data["app_file"]).is_file()
    assert data["sdk_version"] == version("gradio")
    assert len(data["short_description"]) <= 60  # the Hub's limit
    assert f"{sys.version_info.major}.{sys.version_info.minor}" >= data["python_version"]


def test_the_map_of_the_code_is_complete(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    small = {"__init__.py", "__main__.py", "errors.py"}
    for file in (root / "fcn").glob("*.py"):
        assert file.name in small or f"(fcn/{file.name})" in text, file.name
    for package in (root / "fcn").glob("*/__init__.py"):
        folder = package.parent
        assert f"(fcn/{folder.name})" in text, folder.name
        told = importlib.import_module(f"fcn.{folder.name}").__doc__ or ""
        names = {file.stem for file in folder.glob("*.py")} - {"__init__"}
        if folder.name != "commands":  # which `python -m fcn --help` lists
            assert {name for name in names if f"``{name}``" not in told} == set()


def test_the_pictures_of_the_readme_are_there(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    pictures = [
        part.split(")")[0] for part in text.split("](") if ".png)" in part or ".jpg)" in part
    ]
    assert pictures
    for picture in pictures:
        assert (root / picture).is_file(), picture


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)
def test_a_bundled_checkpoint_is_whole(folder: Path) -> None:
    model = saving.load(folder)
    metrics = checkpoint.read_json(folder, "metrics.json")
    assert tuple(metrics["classes"]) == model.classes
    card = ModelCard.load(folder / "README.md")
    scores = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert scores["mean_iou"] == round(metrics["mean_iou"], 4)
    config = TrainConfig(**checkpoint.read_json(folder, "training.json")["config"])
    repeated = train.parse(["--config", str(folder / "training.json")])
    assert repeated.dataset == config.dataset == metrics["dataset"]
    for name in ("curves.png", "per_class_iou.png", "confusion.png"):
        assert (folder / name).is_file()
    assert not (folder / "state").exists()


def test_street_scores_what_it_says(root: Path, real_data: Path) -> None:
    command = [sys.executable, "-m", "fcn", "evaluate", "checkpoints/street", "--json"]
    command += ["--dataset", "camvid", "--data", str(real_data), "--split", "val"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    told = checkpoint.read_json(root / "checkpoints" / "street", "metrics.json")
    assert scores["mean_iou"] >= 0.5
    assert scores["mean_iou"] == pytest.approx(told["mean_iou"], abs=2e-3)
    assert (scores["dataset"], scores["split"], scores["images"]) == ("camvid", "val", 101)
