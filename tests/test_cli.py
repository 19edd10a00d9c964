"""The command line: files, exit statuses, one JSON object, and sentences in place of tracebacks."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, build_tiny
from PIL import Image

from fcn import checkpoint, saving
from fcn.__main__ import COMMANDS, main
from fcn.data.datasets import open_dataset
from fcn.segmentation import choose_stems


def run_lean(*command: str) -> subprocess.CompletedProcess[str]:
    """A command where only the demo's packages are installed."""
    code = """
import runpy, sys
sys.modules.update(dict.fromkeys(("accelerate", "onnx", "torch", "torchvision")))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
    command = (sys.executable, "-c", code, *command)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_needs_training_packages_says_so() -> None:
    fit = run_lean("fcn", "fit", "checkpoints/street", "--data", "x")
    assert fit.returncode == 1
    assert fit.stderr == "fcn: needs the package torch: pip install -r requirements.txt\n"
    assert run_lean("fcn", "--help").returncode == 0
    export = run_lean("fcn", "export", "checkpoints/street", "--dataset", "shapes")
    assert export.returncode == 1 and export.stderr.startswith("fcn: needs the package")
    assert run_lean("fcn", "segment", "--help").returncode == 0
    training = run_lean("train")
    assert training.returncode == 1
    assert training.stderr == "Training needs the package torch: pip install -r requirements.txt\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a good photo, a broken one and something else."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (61, 40), (90, 120, 200)).save(folder / "street.jpg")
    (folder / "broken.jpg").write_bytes((folder / "street.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("not a photo, and not meant as one")
    return folder


def run(*arguments: object) -> int:
    """The exit status of a command line."""
    return main([str(argument) for argument in arguments])


def test_segment_writes_three_files(photos, tiny_checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    status = run("segment", photos / "street.jpg", "--checkpoint", tiny_checkpoint, "--output", out)
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "street.json",
        "street.png",
        "street_overlay.png",
    ]
    mask = Image.open(out / "street.png")
    summary = json.loads((out / "street.json").read_text())
    assert mask.mode == "P" and mask.size == (61, 40) == tuple(summary["size"])
    counts = np.bincount(np.asarray(mask).ravel())
    assert sorted(one["pixels"] for one in summary["classes"]) == sorted(counts[counts > 0])
    assert summary["weights"] == str(tiny_checkpoint)
    line = capsys.readouterr().out
    assert line.startswith(f"{photos / 'street.jpg'}: {summary['classes'][0]['name']} ")


def test_segment_reports_a_bad_file_and_goes_on(photos, tiny_checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    missing = tmp_path / "missing.png"
    status = run("segment", missing, photos, "--checkpoint", tiny_checkpoint, "--output", out)
    shown = capsys.readouterr()
    assert status == 1
    assert (out / "street.png").is_file() and not (out / "broken.png").exists()
    complaints = shown.err.strip().splitlines()
    assert len(complaints) == 2
    assert complaints[0] == f"{missing} does not exist."
    assert str(photos / "broken.jpg") in complaints[1]


@pytest.mark.parametrize("flag", ["--output", "--save-predictions"])
def test_a_file_in_the_place_of_results_is_told(flag, photos, tiny_checkpoint, capsys):
    file = photos / "street.jpg"
    asked = ("segment", file, "--checkpoint", tiny_checkpoint)
    if flag == "--save-predictions":
        asked = ("evaluate", tiny_checkpoint, "--dataset", "shapes")
    assert run(*asked, flag, file) == 1
    assert capsys.readouterr().err.endswith(f"{file} cannot be written: {file} is a file.\n")


def test_segment_keeps_photos_of_equal_names_apart(photos, tiny_checkpoint, tmp_path):
    Image.new("RGB", (20, 30)).save(tmp_path / "street.png")
    args = ("--checkpoint", tiny_checkpoint, "--output", tmp_path, "--stride", 32)
    assert run("segment", photos / "street.jpg", tmp_path / "street.png", *args) == 0
    assert Image.open(tmp_path / "street.png").mode == "RGB"  # the photo is still there
    assert Image.open(tmp_path / "street-2.png").size == (61, 40)
    assert Image.open(tmp_path / "street-3.png").size == (20, 30)


def test_a_result_that_cannot_be_written_ends_no_others(photos, tiny_checkpoint, tmp_path, capsys):
    long = shutil.copy(photos / "street.jpg", tmp_path / f"{'m' * 246}.jpg")
    args = ("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert run("segment", long, photos / "street.jpg", *args) == 1
    assert "name too long" in capsys.readouterr().err
    written = {"street.json", "street.png", "street_overlay.png"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == written


def test_results_in_a_folder_are_not_taken_for_its_photos(photos, tiny_checkpoint, tmp_path):
    (folder := tmp_path / "both").mkdir()
    shutil.copy(photos / "street.jpg", folder)
    for _ in range(2):
        assert run("segment", folder, "--checkpoint", tiny_checkpoint, "--output", folder) == 0
    written = {"street.json", "street.png", "street_overlay.png"}
    assert {file.name for file in folder.iterdir()} == {"street.jpg", *written}


def test_a_folder_of_results_alone_is_told(photos, tiny_checkpoint, tmp_path, capsys):
    args = ("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert run("segment", photos / "street.jpg", *args) == 0
    assert run("segment", tmp_path / "out", *args) == 1
    assert capsys.readouterr().err.endswith("holds no photos but the results of an earlier call.\n")


def test_stems_never_collide(tmp_path: Path):
    photos = [Path(name) for name in ("a.jpg", "b/A.png", "a_overlay.jpg", "a-2.gif", "c.jpg")]
    stems = choose_stems(photos, tmp_path)
    files = [f"{stem}{end}".lower() for stem in stems for end in (".png", "_overlay.png", ".json")]
    assert len(set(files)) == len(files) == 15
    assert stems[0] == "a" and stems[-1] == "c"


def test_stems_spare_other_files_and_replace_earlier_results(tmp_path: Path):
    for name in ("cat.png", "dog.png", "dog_overlay.png", "dog.json", "Cow.JSON"):
        (tmp_path / name).touch()
    stems = choose_stems([Path(name) for name in ("cat.jpg", "dog.jpg", "cow.jpg")], tmp_path)
    assert stems == ["cat-2", "dog", "cow-2"]


def test_a_path_that_cannot_be_looked_at_keeps_no_other_photo_back(
    photos, tiny_checkpoint, tmp_path, capsys
):
    args = ("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert run("segment", tmp_path / ("x" * 300), photos / "street.jpg", *args) == 1
    shown = capsys.readouterr()
    assert "x: File name too long" in shown.err and "street.jpg: " in shown.out


def test_a_full_disk_is_told_with_the_photo(photos, tiny_checkpoint, tmp_path, capsys, monkeypatch):
    def save(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as Pillow's files have it

    monkeypatch.setattr("fcn.commands.segment.segment_one", save)
    args = ("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert run("segment", photos / "street.jpg", *args) == 1
    assert capsys.readouterr().err.endswith("street.jpg: No space left on device\n")


def test_segment_says_when_it_is_unsure(photos, tiny_checkpoint, tmp_path, capsys):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "doubtful")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"doubt_below": 1.0}))
    run("segment", photos / "street.jpg", "--checkpoint", folder, "--output", tmp_path / "out")
    assert "unsure" in capsys.readouterr().out


def test_evaluate_prints_one_json_object(tiny_checkpoint, capsys):
    arguments = ("--dataset", "shapes", "--limit", 3, "--json", "--stride", 16)
    assert run("evaluate", tiny_checkpoint, *arguments) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert shown.out.count("\n") == 1 and "mIoU" in shown.err
    assert 0 <= report["mean_iou"] <= report["pixel_accuracy"] <= 1
    assert set(report["per_class_iou"]) == set(report["classes"])
    scenes = open_dataset("shapes", "", "val")
    assert np.sum(report["confusion"]) == sum(scenes.read(index)[1].size for index in range(3))
    known = {"dataset": "shapes", "split": "val", "images": 3, "stride": 16, "engine": "torch"}
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    known |= {name: config[name] for name in ("inference_size", "absent_below")}
    assert known.items() <= report.items()
    assert {"mean_accuracy", "fw_iou", "protocol", "seconds"} <= set(report)


def test_evaluate_prints_a_table(tiny_checkpoint, capsys):
    assert run("evaluate", tiny_checkpoint, "--dataset", "shapes", "--limit", 1) == 0
    shown = capsys.readouterr().out
    assert "circle" in shown and "shapes val, 1 photos" in shown and "label resolution" in shown
    assert "photos are seen at 96 pixels\n" in shown


def test_evaluate_tells_averaged_scores_apart(tiny_checkpoint, capsys):
    flags = ["--dataset", "shapes", "--limit", "3", "--engine", "torch", "--json"]
    shown = []
    for more in ([], ["--scales", "0.75,1,1.25", "--flip"]):
        assert run("evaluate", tiny_checkpoint, *flags, *more) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert "scales" not in shown[0]
    assert (shown[1]["scales"], shown[1]["flip"]) == ([0.75, 1.0, 1.25], True)
    assert shown[0]["confusion"] != shown[1]["confusion"]
    for more, told in ((["--flip"], " with their mirror images\n"), ([], "\n")):
        scales = ("--dataset", "shapes", "--limit", 1, "--scales", "0.75,1")
        assert run("evaluate", tiny_checkpoint, *scales, *more) == 0
        assert f"seen at 96 pixels, times 0.75, 1, averaged{told}" in capsys.readouterr().out


def test_evaluate_takes_the_data_set_of_the_training(tiny_checkpoint, tmp_path, capsys):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "trained")
    assert run("evaluate", folder, "--limit", 1) == 1
    assert "add --dataset" in capsys.readouterr().err
    checkpoint.write_json(folder / "training.json", {"config": {"dataset": "shapes"}})
    assert run("evaluate", folder, "--limit", 1) == 0
    assert "shapes val, 1 photos" in capsys.readouterr().out
    trained = {"dataset": "shapes", "val_split": "train"}
    checkpoint.write_json(folder / "training.json", {"config": trained})
    assert run("evaluate", folder, "--limit", 1) == 0
    assert "shapes train, 1 photos" in capsys.readouterr().out
    assert run("evaluate", folder, "--limit", 1, "--split", "val") == 0
    assert "shapes val, 1 photos" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("val_split", ["x"]), ("classes", 5)])
def test_evaluate_refuses_what_no_training_writes(name, value, tiny_checkpoint, tmp_path, capsys):
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "trained")
    checkpoint.write_json(folder / "training.json", {"config": {"dataset": "shapes", name: value}})
    assert run("evaluate", folder, "--limit", 1) == 1
    assert f"training.json cannot be used: {name} is {value}." in capsys.readouterr().err


def test_evaluate_ignores_what_training_ignored(tmp_path, capsys):
    saving.write(tmp_path, build_tiny(["background", "circle"]))
    known = ("--dataset", "shapes", "--limit", "3", "--json")
    scenes = open_dataset("shapes", "", "val")
    labels = np.stack([scenes.read(index)[1] for index in range(3)])
    kept = np.isin(labels, [scenes.classes.index(name) for name in ("background", "circle")])
    for trained, asked, pixels in (
        ({}, [], labels.size),
        ({"others": "ignore"}, [], kept.sum()),
        ({"others": "ignore"}, ["--others", "background"], labels.size),
    ):
        checkpoint.write_json(tmp_path / "training.json", {"config": trained})
        assert run("evaluate", tmp_path, *known, *asked) == 0
        assert np.sum(json.loads(capsys.readouterr().out)["confusion"]) == pixels


def test_evaluate_refuses_other_classes(tiny_checkpoint, real_data, capsys):
    status = run("evaluate", tiny_checkpoint, "--dataset", "camvid", "--data", real_data)
    assert status == 1
    assert "only the checkpoint has background" in capsys.readouterr().err


def test_check_reports_and_tells_by_its_status(tmp_path, capsys):
    assert run("check", "--dataset", "shapes", "--split", "val") == 0
    assert "circle" in capsys.readouterr().out
    assert run("check", "--dataset", "camvid", "--data", tmp_path) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "x.jpg", "--output", "out", "--checkpoint", "nowhere"),
        ("evaluate", "nowhere", "--dataset", "shapes"),
    ],
)
def test_mistakes_end_in_one_sentence(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("fcn: nowhere ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("segment", "x.jpg"),
        ("segment", "x.jpg", "--output", "out", "--opacity", "2"),
        ("segment", "x.jpg", "--output", "out", "--stride", "7"),
        ("evaluate", "x", "--dataset", "imagenet"),
        ("evaluate", "x", "--dataset", "shapes", "--limit", "-1"),
        ("evaluate", "x", "--dataset", "shapes", "--scales", "1,,2"),
        ("export", "x", "--images", "0"),
    ],
)
def test_bad_flags_are_told_by_argparse(arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2


def test_the_program_itself(root: Path, photos: Path, tiny_checkpoint: Path, tmp_path: Path):
    """The exit status, and that no traceback reaches the user, from outside."""
    out = tmp_path / "file"
    out.write_text("where a folder should be")
    command = [sys.executable, "-m", "fcn", "segment", str(photos / "street.jpg")]
    command += ["--checkpoint", str(tiny_checkpoint), "--output", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"fcn: {out} cannot be written: {out} is a file.\n"


def test_a_name_in_no_alphabet_ends_nothing(
    root: Path, photos: Path, tiny_checkpoint: Path, tmp_path: Path
):
    name = os.fsdecode(b"caf\xe9.jpg")  # Latin-1, as old archives have it
    try:
        shutil.copy(photos / "street.jpg", tmp_path / name)
    except OSError:
        pytest.fail("this file system takes no such name")
    command = [sys.executable, "-m", "fcn", "segment", tmp_path / name, "--engine", "torch"]
    done = subprocess.run(
        [*command, "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out"],
        cwd=root,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9.jpg: " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"python -m fcn {command} " in capsys.readouterr().out.split("examples:")[1]
