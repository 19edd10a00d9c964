"""What the tab about a network says of a checkpoint, whoever wrote its files."""

import json
from pathlib import Path

import pytest
from visiting import HOSTILE, by_color

from fcn import checkpoint
from fcn.demo import model_tab
from fcn.segmenter import Segmenter

STREET = Path(__file__).parent.parent / "checkpoints" / "street"


def network(folder: Path | None) -> Segmenter:
    segmenter = by_color()
    segmenter.folder = folder
    return segmenter


def table(*rows: str) -> str:
    """The end of a table's HTML."""
    return "".join(f"<tr>{row}" for row in rows) + "</table>"


def test_a_bundled_checkpoint_is_told_in_full():
    segmenter, metrics = network(STREET), checkpoint.read_json(STREET, "metrics.json")
    segmenter.classes = tuple(metrics["classes"])
    text = model_tab.describe(segmenter)
    training = checkpoint.read_json(STREET, "training.json")
    assert f"<td>{100 * metrics['mean_iou']:.1f} %" in text
    for name, iou in metrics["per_class_iou"].items():
        assert f'<th scope="row">{name}<td>{100 * iou:.1f} %<td class="bar">' in text
    assert f"{training['data']['images']} photos: {training['step']:,} steps" in text
    again = f"--data DIR --minutes 0 --steps {training['step']}"  # not the minutes of an H200
    assert f"python train.py --config {STREET}/training.json {again}" in text
    pictures = model_tab.find_pictures(network(STREET))
    assert {"curves.png", "per_class_iou.png", "confusion.png"} <= {
        Path(one["file"]["path"]).name for one in pictures
    }


def test_strides_engines_and_calibration(tmp_path):
    scores = {"mean_iou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": 0.625, "fw_iou": 0.25}
    metrics = {
        **{"engine": "torch", **scores, "int8": {**scores, "mean_iou": 0.375}},
        "strides": {"32": {"mean_iou": 0.125}, "16": {"mean_iou": 0.25}, "8": {"mean_iou": 0.5}},
        "fitted": {
            "temperature": 1.5,
            "calibration_error": {"before": 0.0625, "after": 0.03125, "served": 0.0415},
        },
    }
    checkpoint.write_json(tmp_path / "metrics.json", metrics)
    segmenter = network(tmp_path)
    segmenter.temperature, segmenter.absent_below = 1.5, 0.8
    text = model_tab.describe(segmenter)
    assert "<dd>1.50: calibration error 3.1 %, without it 6.2 %, as served 4.2 %" in text
    assert "<dt>Finds a class<dd>if its highest probability reaches 80.0 %<" in text
    config = {**checkpoint.read_json(STREET, "config.json"), "presence": True}
    with_presence = model_tab.facts(segmenter, config, {}, {})
    assert "reaches 80.0 %, by its scores times its presence in the whole" in with_presence
    assert '<th scope="col">torch<th scope="col">int8' in text
    assert '<th scope="row">mean IoU<td>50.0 %<td>37.5 %' in text
    assert text.count("mean IoU at stride") == 3
    assert '<th scope="row">mean IoU at stride 16<td>25.0 %<td>-' in text


def test_classes_come_best_first_and_those_without_a_score_last(tmp_path):
    scores = {"mean_iou": 0.5, "per_class_iou": {"pole": None, "sign": 0.25, "road": 1.0}}
    scores["per_class_iou"]["of another network"] = 1.0
    text = model_tab.class_table(["pole", "sign", "road", "unscored"], scores)
    assert text.endswith(
        table(
            '<th scope="row">road<td>100.0 %<td class="bar"><i style="width:100.0%"></i>',
            '<th scope="row">sign<td>25.0 %<td class="bar"><i style="width:25.0%"></i>',
            '<th scope="row">pole<td>-<td class="bar"><i style="width:0.0%"></i>',
        )
    )


def test_a_live_network_has_no_files():
    text = model_tab.describe(network(None))
    assert "<h2>colors</h2>" in text and "FCN-8s" in text
    assert "Trained on" not in text and "<h3>" not in text
    assert model_tab.find_pictures(network(None)) == []


def test_weights_of_the_hub_have_their_commit_and_how_to_train_them(tmp_path):
    checkpoint.write_json(tmp_path / "training.json", {})
    segmenter = network(tmp_path)
    segmenter.source, segmenter.revision = "me/net@01234567", "01234567" * 5
    text = model_tab.describe(segmenter)
    assert "<h2>net</h2>" in text
    assert f"<dt>Revision<dd>{segmenter.revision}" in text
    assert f"$(python -m fcn pull me/net@{segmenter.revision})" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("value", [HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, True, 1e400, 10**999])
def test_files_of_any_content_are_text_or_left_out(tmp_path, value):
    """Every value that the tab reads is replaced, at every depth."""
    for name in ("metrics.json", "training.json", "config.json"):
        whole = json.loads((STREET / name).read_text(encoding="utf-8"))
        for broken in ({}, dict.fromkeys(whole, value), replaced(whole, value)):
            (tmp_path / name).write_text(json.dumps(broken), encoding="utf-8")
            text = model_tab.describe(network(tmp_path))
            assert "<img" not in text and "inf" not in text


def replaced(values: object, value: object) -> object:
    """The same JSON objects with another value wherever there was one."""
    if isinstance(values, dict):
        return {key: replaced(one, value) for key, one in values.items()}
    return value


def test_a_damaged_file_is_as_none(tmp_path):
    (tmp_path / "metrics.json").write_text("[", encoding="utf-8")
    assert model_tab.read(network(tmp_path), "metrics.json") == {}


def test_pictures_of_a_run_come_first_and_all_are_shown(tmp_path):
    for name in ("a.png", "confusion.png", "progress.png", "no.svg"):
        (tmp_path / name).write_bytes(model_tab.PNG + name.encode())
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "secret").write_text("a key")
    (tmp_path / "link.png").symlink_to("secret")
    pictures = model_tab.find_pictures(network(tmp_path))
    assert [Path(one["file"]["path"]).read_bytes()[len(model_tab.PNG) :] for one in pictures] == [
        *(b"progress.png", b"confusion.png", b"a.png")
    ]
    assert pictures[2]["title"] == "a.png"
