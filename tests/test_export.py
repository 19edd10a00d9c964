"""The int8 file: what is in it, how near it is to torch, and that it is whole or not there."""

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import gradio
import numpy as np
import onnx
import pytest
import torch
from conftest import CLASSES, build_tiny
from layouts import write_pair
from PIL import Image

from fcn import checkpoint, saving
from fcn.__main__ import main
from fcn.data.datasets import open_dataset
from fcn.errors import InputError
from fcn.export import calibration_images, export_checkpoint
from fcn.inference.engines import ENGINES, ONNX_NAME, TorchEngine, load_engine
from fcn.inference.fusion import STRIDES
from fcn.photo import open_photo
from fcn.resizing import network_size
from fcn.segmenter import Segmenter

PHOTOS = Path(gradio.__file__).parent / "media_assets" / "images"


@pytest.fixture(scope="module")
def street(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled street network, exported anew with a few photos that show no streets."""
    folder = tmp_path_factory.mktemp("export") / "street"
    shutil.copytree(root / "checkpoints" / "street", folder)
    photos = [open_photo(PHOTOS / name, longest=320) for name in ("lion.jpg", "cheetah1.jpg")]
    export_checkpoint(folder, [np.array(photo) for photo in photos])
    return folder


def test_int8_gives_torchs_labels_but_for_a_few(street: Path):
    """With real weights, and a photo of another kind than those it was calibrated on."""
    int8, exact = (Segmenter.load(street, engine, "cpu") for engine in ("onnx", "torch"))
    photo = open_photo(PHOTOS / "tower.jpg", longest=480)
    for stride in STRIDES:
        ours, theirs = int8(photo, stride), exact(photo, stride)
        assert (ours.labels != theirs.labels).mean() < 0.06
        assert np.abs(ours.confidence - theirs.confidence).mean() < 0.03


def test_all_but_the_score_layers_is_int8(street: Path):
    file = street / ONNX_NAME
    assert file.stat().st_size < 0.55 * (street / "model.safetensors").stat().st_size
    graph = onnx.load(file).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    weights = {
        node.name: made_by.get(node.input[1]) for node in graph.node if node.op_type == "Conv"
    }
    assert Counter(weights.values()) == {"DequantizeLinear": 15, None: 3}
    assert "ConvTranspose" not in made_by.values()


def test_weights_have_seven_bits_and_channels_come_by_fours(street: Path):
    stored = onnx.load(street / ONNX_NAME).graph.initializer
    weights = [array for array in map(onnx.numpy_helper.to_array, stored) if array.ndim == 4]
    weights = [array for array in weights if array.dtype == np.int8]
    assert len(weights) == 15 and max(np.abs(array).max() for array in weights) == 64
    assert all(array.shape[1] % 4 == 0 for array in weights)


def test_the_file_says_what_it_was_made_from_and_nothing_of_this_machine(street: Path):
    told = {prop.key: prop.value for prop in onnx.load(street / ONNX_NAME).metadata_props}
    digest = hashlib.sha256((street / "model.safetensors").read_bytes()).hexdigest()
    assert told["weights_sha256"] == digest
    config = json.loads(told["config"])  # with what an older config.json leaves out
    assert config == saving.load(street).config
    assert config == {**config, **checkpoint.read_json(street, "config.json")}
    assert str(Path(__file__).parent.parent).encode() not in (street / ONNX_NAME).read_bytes()


@pytest.fixture
def tiny(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that says it was trained on shapes."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    config = {"dataset": "shapes", "split": "", "val_split": "", "classes": [], "others": "ignore"}
    checkpoint.write_json(folder / "training.json", {"config": config})
    return folder


def test_the_command_exports_scores_and_tells(tiny: Path, capsys: pytest.CaptureFixture[str]):
    before = checkpoint.read_json(tiny, "metrics.json")
    assert main(["export", str(tiny), "--images", "3"]) == 0
    metrics = checkpoint.read_json(tiny, "metrics.json")
    int8 = metrics.pop("int8")
    assert metrics == before
    known = {"dataset": "shapes", "split": "val", "images": 10, "engine": "onnx", "stride": 8}
    assert known.items() <= int8.items()
    assert 0 <= int8["mean_iou"] <= int8["pixel_accuracy"] <= 1
    shown = capsys.readouterr().out
    assert f"{int8['mean_iou']:.2%} mIoU" in shown and "model_int8.onnx" in shown
    assert Segmenter.load(tiny, "onnx").metrics == int8
    assert Segmenter.load(tiny, "torch").metrics["int8"] == int8
    assert not list(tiny.glob(".*"))


def test_the_command_needs_a_data_set(tiny: Path, capsys: pytest.CaptureFixture[str]):
    (tiny / "training.json").unlink()
    assert main(["export", str(tiny)]) == 1
    assert "add --dataset" in capsys.readouterr().err


def test_an_export_needs_pictures(tiny: Path):
    with pytest.raises(InputError, match="at least one picture"):
        export_checkpoint(tiny, [])


def test_a_run_that_was_never_scored_is_exported_too(tiny: Path):
    (tiny / "metrics.json").unlink()
    training = checkpoint.read_json(tiny, "training.json") | {"history": []}
    checkpoint.write_json(tiny / "training.json", training)
    assert main(["export", str(tiny), "--images", "2"]) == 0
    assert list(checkpoint.read_json(tiny, "metrics.json")) == ["int8"]


def test_another_data_set_has_the_networks_classes_or_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    network = tmp_path / "network"
    saving.write(network, build_tiny(["sky", "road"]))  # there is no background
    (network / "training.json").write_text('{"config": null}')  # it tells nothing
    for split in ("train", "val"):
        write_pair("folder", tmp_path, split, "photo", [[0, 1, 2] * 12] * 36)
    names = tmp_path / "classes.txt"
    names.write_text("sky\nroad\npole")
    given = ["export", str(network), "--dataset", "folder", "--data", str(tmp_path)]
    assert main(given) == 0
    written = (network / ONNX_NAME).stat().st_mtime_ns
    names.write_text("sky\ntree\npole")
    assert main(given) == 1
    assert "road" in capsys.readouterr().err
    assert (network / ONNX_NAME).stat().st_mtime_ns == written


def test_an_export_that_is_not_scored_leaves_file_and_scores_alike(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    assert main(["export", str(tiny), "--images", "1"]) == 0
    before = {name: (tiny / name).read_bytes() for name in (ONNX_NAME, "metrics.json")}

    def fail(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fcn.export.evaluate", fail)
    assert main(["export", str(tiny), "--images", "2"]) == 130
    assert {name: (tiny / name).read_bytes() for name in before} == before
    assert not list(tiny.glob(".*"))


def test_an_export_that_fails_leaves_the_file_there_was(tiny: Path):
    (tiny / ONNX_NAME).write_text("the last one")
    with pytest.raises(Exception, match="uint8"):
        export_checkpoint(tiny, [np.zeros((8, 8, 3), np.float32)])
    with pytest.raises(InputError, match="at least one picture"):
        export_checkpoint(tiny, [])
    assert (tiny / ONNX_NAME).read_text() == "the last one"
    assert not list(tiny.glob(".*"))


def test_calibration_images_are_spread_and_scaled():
    shapes = open_dataset("shapes", "", "train")
    images = calibration_images(shapes, 48, 5)
    assert len(images) == 5 and {image.dtype for image in images} == {np.dtype(np.uint8)}
    first, last = shapes.read(0)[0], shapes.read(len(shapes) - 1)[0]
    assert images[0].shape[:2] == network_size(first.size, 48)[::-1]
    resized = last.resize(network_size(last.size, 48), Image.Resampling.BILINEAR)
    assert (images[-1] == np.array(resized)).all()
    assert len(calibration_images(shapes, 48, 10**6)) == len(shapes)


def test_the_mean_of_the_picture_is_seen_by_the_file_too(tmp_path: Path):
    model = build_tiny(CLASSES, context=True)
    weight = model.backbone.classifier.get_parameter("fc6.context.weight")
    torch.nn.init.normal_(weight, std=0.05)
    saving.write(tmp_path, model)
    image = np.array(open_photo(PHOTOS / "lion.jpg", longest=96))
    export_checkpoint(tmp_path, [image])
    found, expected = (load_engine(tmp_path, name).maps(image)["score_fr"] for name in ENGINES)
    weight.data.zero_()
    without = TorchEngine(model).maps(image)["score_fr"]
    assert np.abs(found - expected).mean() < 0.1 * np.abs(found - without).mean()
