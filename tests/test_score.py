"""Predictions as files: the devkit's arithmetic, what ``evaluate`` writes, and what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import build_tiny
from layouts import LAYOUTS, write_mask, write_pair
from PIL import Image

from fcn import saving
from fcn.__main__ import main
from fcn.data.datasets import DATASETS, open_dataset
from fcn.data.shapes import SHAPES
from fcn.errors import InputError
from fcn.palette import CAMVID, SCENE_PARSING, VOC
from fcn.photo import open_photo
from fcn.protocols import score
from fcn.segmenter import Segmenter


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """What a command that works prints, to stdout and stderr."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    shown = capsys.readouterr()
    return shown.out, shown.err


def devkit(pairs: list[tuple[np.ndarray, np.ndarray]], count: int = 150) -> tuple[float, float]:
    """Mean IoU and pixel accuracy of (label, prediction) pairs of stored values, by the book."""
    intersection, union, correct, labelled = np.zeros(count), np.zeros(count), 0, 0
    for label, prediction in pairs:
        prediction = prediction * (label > 0)
        for value in range(1, count + 1):
            is_label, is_found = label == value, prediction == value
            intersection[value - 1] += (is_label & is_found).sum()
            union[value - 1] += (is_label | is_found).sum()
        correct += ((label == prediction) & (label > 0)).sum()
        labelled += (label > 0).sum()
    return float((intersection / (union + 1e-9)).mean()), correct / labelled


def write_split(
    name: str, data: Path, out: Path, labels: list[np.ndarray], predictions: list[np.ndarray]
) -> None:
    """A validation split and predictions on it."""
    out.mkdir()
    for number, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        write_pair(name, data, DATASETS[name].val, f"{number}", label.tolist())
        write_mask(out / f"{number}.png", prediction.tolist())


def test_scene_parsing_is_scored_as_the_devkit_does(tmp_path, capsys):
    random = np.random.default_rng(0)
    labels = [random.integers(0, 8, (20, 30)) for _ in range(3)]
    predictions = [np.where(random.random((20, 30)) < 0.6, one, one // 2) for one in labels]
    predictions[0][:3], predictions[1][:2] = 0, 200  # no prediction, and no class
    write_split("scene_parsing", tmp_path, tmp_path / "out", labels, predictions)
    arguments = ("--dataset", "scene_parsing", "--data", tmp_path, "--predictions")
    out, err = run(capsys, "score", *arguments, tmp_path / "out", "--json")
    mean, accuracy = devkit(list(zip(labels, predictions, strict=True)))
    report = json.loads(out)
    assert report["mean_iou"] == pytest.approx(mean)
    assert report["pixel_accuracy"] == pytest.approx(accuracy)
    assert report["score"] == pytest.approx((mean + accuracy) / 2)
    assert len(report["per_class_iou"]) == 150 and report["per_class_iou"]["flag"] is None
    assert "labelled pixels are predicted as no class" in err
    assert "found 3 of the 2000 pairs of scene_parsing validation, and goes on" in err


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "ious", "classes"),
    [
        ("voc", [0, 12, 12, 255], [0, 12, 0, 3], [1 / 2, 1 / 2], 21),
        ("camvid", [0, 4, 4, 11], [0, 4, 0, 3], [1 / 2, 1 / 2], 11),
        ("voc", [0, 12, 12, 12], [0, 12, 255, 40], [1, 1 / 3], 21),
        ("camvid", [0, 4, 4, 4], [0, 4, 11, 255], [1, 1 / 3], 11),
        ("folder", [0, 2, 1, 255], [0, 2, 2, 3], [1, 1 / 2, 0], 3),
    ],
)
def test_other_protocols_by_hand(name, labels, predictions, ious, classes, tmp_path):
    write_split(name, tmp_path, tmp_path / "out", [np.array([labels])], [np.array([predictions])])
    report = score(open_dataset(name, tmp_path, "val"), tmp_path / "out").summary()
    assert report["mean_iou"] == pytest.approx(sum(ious) / classes)
    assert report["mean_iou_of_occurring"] == pytest.approx(np.mean(ious))
    assert "score" not in report


def test_the_sample_against_itself_gives_the_devkits_result(real_data: Path, capsys):
    masks = real_data / "ADEChallengeData2016/annotations/validation"
    arguments = ("--dataset", "scene_parsing", "--data", real_data, "--predictions", masks)
    out, err = run(capsys, "score", *arguments)
    assert "mean IoU 0.1000 over 150 classes, pixel accuracy 100 %, score 0.5500" in out
    assert "scene_parsing validation, 3 of 3 pairs" in out
    assert "found 3 of the 2000 pairs" in err and "warning" not in err


def test_a_photo_that_is_damaged_does_not_keep_its_prediction_from_being_scored(tmp_path):
    labels = [np.array([[1, 2], [2, 2]])]
    write_split("folder", tmp_path, tmp_path / "out", labels, labels)
    dataset = open_dataset("folder", tmp_path, "val")
    dataset.pairs[0][0].write_bytes(b"no photo")
    assert score(dataset, tmp_path / "out").matrix.pixel_accuracy == 1


SAVED = {"scene_parsing": SCENE_PARSING, "voc": VOC, "camvid": CAMVID}


@pytest.mark.parametrize("name", SAVED)
def test_what_evaluate_saves_scores_as_evaluate_says(name, tmp_path, capsys):
    palette, source = SAVED[name], DATASETS[name]
    saving.write(tmp_path / "tiny", build_tiny(list(palette)))
    segmenter = Segmenter.load(tmp_path / "tiny")
    random = np.random.default_rng(1)
    for number in range(3):
        values = random.integers(source.first, source.first + 9, (33, 47))
        photo, mask = write_pair(name, tmp_path, source.val, f"photo{number}", values.tolist())
        found = segmenter(open_photo(photo)).labels
        values[:, 9:] = found[:, 9:] + source.first  # so that something is right
        values[:4] = source.ignored[0]
        write_mask(mask, values.tolist())
    where, out = ("--dataset", name, "--data", tmp_path, "--json"), tmp_path / "out"
    evaluated, err = run(capsys, "evaluate", tmp_path / "tiny", *where, "--save-predictions", out)
    assert ("found 3 of the 2000 pairs" in err) == (name == "scene_parsing")
    scored, _ = run(capsys, "score", *where, "--predictions", out)
    evaluated, scored = json.loads(evaluated), json.loads(scored)
    assert len({iou for iou in scored["per_class_iou"].values() if iou}) > 1
    assert scored["per_class_iou"] == pytest.approx(evaluated["per_class_iou"])
    assert scored["pixel_accuracy"] == pytest.approx(evaluated["pixel_accuracy"])
    assert scored["mean_iou_of_occurring"] == pytest.approx(evaluated["mean_iou"])
    if name == "scene_parsing":
        for key in ("mean_iou", "pixel_accuracy", "score"):
            assert scored[key] == pytest.approx(evaluated["official"][key])
    saved = Image.open(out / "photo0.png")
    values = np.unique(np.asarray(saved)).tolist()
    assert saved.mode == "P" and saved.size == (47, 33)
    assert source.first <= min(values) <= max(values) < source.first + len(palette)
    colors = saved.getpalette()
    for value in values:
        expected = list(palette.values())[value - source.first]
        assert tuple(colors[3 * value : 3 * value + 3]) == expected


def test_kept_classes_are_saved_by_their_own_numbers(tmp_path, capsys):
    write_pair(
        "voc", tmp_path, "val", "a", np.repeat([[0, 8, 12, 15]], 40, 0).repeat(9, 1).tolist()
    )
    saving.write(tmp_path / "tiny", build_tiny(["background", "cat", "dog"]))
    where = ("--dataset", "voc", "--data", tmp_path, "--json", "--classes", "cat", "dog")
    out = tmp_path / "out"
    evaluated, _ = run(capsys, "evaluate", tmp_path / "tiny", *where, "--save-predictions", out)
    assert set(np.unique(np.asarray(Image.open(out / "a.png")))) <= {0, 8, 12}
    scored, _ = run(capsys, "score", *where, "--predictions", out)
    assert json.loads(scored)["per_class_iou"] == json.loads(evaluated)["per_class_iou"]


def test_a_class_without_a_number_cannot_be_saved(tmp_path, capsys):
    write_pair("camvid", tmp_path, "val", "a", [[0, 8]])
    saving.write(tmp_path / "tiny", build_tiny(["background", "Car"]))
    arguments = ["evaluate", tmp_path / "tiny", "--dataset", "camvid", "--data", tmp_path]
    arguments += ["--save-predictions", tmp_path / "out"]
    assert main([str(one) for one in arguments]) == 1
    assert "camvid has no number for 'background'" in capsys.readouterr().err


@pytest.mark.parametrize(("split", "linked"), [("val", False), ("val", True), ("train", False)])
@pytest.mark.parametrize("kind", [0, 1])
def test_predictions_never_replace_the_data(kind, split, linked, tmp_path, capsys):
    pairs = {one: write_pair("camvid", tmp_path, one, "a", [[0, 8]]) for one in ("train", "val")}
    own = pairs[split][kind]
    before, folder = own.read_bytes(), own.parent
    if linked:  # as where the data set's folders lie on another disk
        folder = own.parent.rename(tmp_path / "elsewhere")
        own.parent.symlink_to(folder)
    saving.write(tmp_path / "tiny", build_tiny(list(CAMVID)))
    arguments = ["evaluate", tmp_path / "tiny", "--dataset", "camvid", "--data", tmp_path]
    assert main([str(one) for one in [*arguments, "--save-predictions", folder]]) == 1
    assert "lies in the data set itself" in capsys.readouterr().err
    assert own.read_bytes() == before


def test_predictions_on_what_is_drawn_may_lie_anywhere(tmp_path, monkeypatch, capsys):
    saving.write(tmp_path / "tiny", build_tiny(list(SHAPES)))
    monkeypatch.chdir(tmp_path)
    where = ("--dataset", "shapes", "--limit", 2, "--json", "--save-predictions", "val")
    run(capsys, "evaluate", "tiny", *where)
    assert len(list((tmp_path / "val").glob("*.png"))) == 2


def test_missing_and_resized_predictions_are_told_and_the_rest_is_scored(tmp_path, capsys):
    labels = [np.array([[1, 1, 2, 2], [1, 1, 2, 2]])] * 3
    write_split("camvid", tmp_path, tmp_path / "out", labels, [labels[0]] * 3)
    write_mask(tmp_path / "out/0.png", [[1, 2]])
    (tmp_path / "out/2.png").unlink()
    (tmp_path / "out/another.png").write_bytes(b"of another split")
    arguments = ("--dataset", "camvid", "--data", tmp_path, "--predictions", tmp_path / "out")
    out, err = run(capsys, "score", *arguments)
    assert "camvid val, 2 of 3 pairs" in out
    assert "mean IoU 0.1818 over 11 classes, pixel accuracy 100 %" in out
    assert "warning: 1 of 3 pairs have no prediction" in err
    assert "warning: 1 predictions were resized" in err


@pytest.mark.parametrize(("shift", "advice"), [(-1, "add 1 to"), (1, "subtract 1 from")])
def test_predictions_that_are_off_by_one_are_recognised(shift, advice, tmp_path):
    labels = [np.random.default_rng(0).integers(1, 150, (20, 30))]
    write_split("scene_parsing", tmp_path, tmp_path / "out", labels, [labels[0] + shift])
    (doubt,) = [
        doubt
        for doubt in score(
            open_dataset("scene_parsing", tmp_path, "val"), tmp_path / "out"
        ).doubts()
        if "off by one" in doubt
    ]
    assert f"{advice} them, as the first class, wall, is 1" in doubt


@pytest.mark.parametrize("name", LAYOUTS)
def test_right_predictions_raise_no_doubt(name, tmp_path):
    source = DATASETS[name]
    labels = [np.arange(source.first, source.first + 3)[None]]
    write_split(name, tmp_path, tmp_path / "out", labels, labels)
    assert score(open_dataset(name, tmp_path, "val"), tmp_path / "out").doubts() == []


def test_useless_predictions_are_one_sentence(tmp_path):
    write_split("camvid", tmp_path, tmp_path / "out", [np.array([[0]])], [np.array([[0]])])
    dataset = open_dataset("camvid", tmp_path, "val")
    Image.new("RGB", (1, 1)).save(tmp_path / "out/0.png")
    with pytest.raises(InputError, match=r"0\.png has mode RGB, .*: save the numbers"):
        score(dataset, tmp_path / "out")
    (tmp_path / "out/0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png cannot be read"):
        score(dataset, tmp_path / "out")
    (tmp_path / "out/0.png").unlink()
    with pytest.raises(InputError, match="has no prediction; they are PNGs named .* as 0.png"):
        score(dataset, tmp_path / "out")
    for other in (tmp_path / "nowhere", dataset.pairs[0][0]):
        with pytest.raises(InputError, match=r"(nowhere|0\.png) is not a folder"):
            score(dataset, other)


def test_json_needs_no_utf8(tmp_path, capsys):
    write_split("folder", tmp_path, tmp_path / "out", [np.array([[0]])], [np.array([[0]])])
    (tmp_path / "classes.txt").write_text("café\nsky\n", "utf-8")
    saving.write(tmp_path / "tiny", build_tiny(["café", "sky"]))
    where = ("--dataset", "folder", "--data", tmp_path, "--json")
    for command in (("evaluate", tmp_path / "tiny"), ("score", "--predictions", tmp_path / "out")):
        out, _ = run(capsys, *command, *where)
        assert out.isascii() and "café" in json.loads(out)["per_class_iou"]


def test_labels_that_are_all_ignored_have_no_score(tmp_path, capsys):
    write_split("camvid", tmp_path, tmp_path / "out", [np.array([[11, 255]])], [np.zeros((1, 2))])
    saving.write(tmp_path / "tiny", build_tiny(list(CAMVID)))
    where = ["--dataset", "camvid", "--data", str(tmp_path), "--json"]
    for command in (["evaluate", "tiny"], ["score", "--predictions", "out"]):
        assert main([command[0], *command[1:-1], str(tmp_path / command[-1]), *where]) == 1
        shown = capsys.readouterr()
        assert "all are ignored: no score" in shown.err and not shown.out


def test_predictions_may_end_in_capitals(tmp_path):
    write_split("camvid", tmp_path, tmp_path / "out", [np.array([[0]])], [np.array([[0]])])
    (tmp_path / "out/0.png").rename(tmp_path / "out/0.PNG")
    assert score(open_dataset("camvid", tmp_path, "val"), tmp_path / "out").predictions == 1
