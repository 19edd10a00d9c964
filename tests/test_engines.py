"""Engines: which runs where, that both mean the same network, and files that cannot be used."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fcn import checkpoint
from fcn.errors import InputError
from fcn.hub.pull import Listing, RemoteFile, check_stand_in
from fcn.inference import amx, engines
from fcn.inference.engines import (
    CONFIG_KEY,
    ENGINES,
    ONNX_NAME,
    OnnxEngine,
    TorchEngine,
    fingerprint,
    load_engine,
)
from fcn.inference.fusion import KERNELS, MAPS, STRIDES
from fcn.segmenter import Segmenter


def picture(width: int, height: int) -> np.ndarray:
    """A picture of colours that change smoothly, with some noise."""
    random = np.random.default_rng(width)
    small = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return (0.9 * smooth + random.integers(0, 25, smooth.shape)).astype(np.uint8)


@pytest.fixture
def folder(tiny_int8: Path, tmp_path: Path) -> Path:
    """A copy of the exported checkpoint, to spoil."""
    return shutil.copytree(tiny_int8, tmp_path / "tiny")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_answers_photos_of_any_size(engine: str, tiny_int8: Path):
    segmenter = Segmenter.load(tiny_int8, engine, "cpu")
    assert segmenter.engine == engine
    for size in [(1, 1), (10000, 1), (1, 300), (131, 97), (8000, 5000)]:
        result = segmenter(Image.new("RGB", size, (200, 90, 30)))
        assert result.size == size and result.labels.max() < len(segmenter.classes)


@pytest.mark.parametrize("size", [(1, 1), (33, 65), (96, 72), (300, 10)])
def test_engines_give_the_same_maps(size: tuple[int, int], tiny_int8: Path):
    both = [load_engine(tiny_int8, name, "cpu").maps(picture(*size)) for name in ENGINES]
    for name, cell in zip(MAPS, (32, 16, 8), strict=True):
        coarse, exact = (maps[name] for maps in both)
        shape = (len(both[0][name]), -(-size[1] // cell), -(-size[0] // cell))
        assert coarse.shape == exact.shape == shape
        assert coarse.dtype == exact.dtype == np.float32
        assert np.abs(coarse - exact).mean() < 0.2 * exact.std() + 0.1


@pytest.mark.parametrize("stride", [None, *STRIDES])
def test_engines_give_the_same_labels(stride: int | None, tiny_int8: Path):
    """Up to quantisation, which random weights and few pictures to calibrate on make the worst."""
    photo = Image.fromarray(picture(160, 120))
    int8, exact = (Segmenter.load(tiny_int8, name, "cpu")(photo, stride) for name in ENGINES)
    assert (int8.labels != exact.labels).mean() < 0.06
    assert np.abs(int8.confidence - exact.confidence).mean() < 0.03


def test_scores_are_the_fused_maps(tiny_int8: Path):
    """All strides come from the maps of one run."""
    engine, image = OnnxEngine.load(tiny_int8), picture(70, 50)
    maps = engine.maps(image)
    for stride, scores in engine.scores(image, STRIDES).items():
        fused = engines.fuse(maps, engine.kernels, stride, (50, 70))
        np.testing.assert_array_equal(scores, fused)
    assert set(engine.kernels) == set(KERNELS)


def test_a_cpu_takes_onnx_and_torch_by_name(tiny_int8: Path):
    assert Segmenter.load(tiny_int8, device="cpu").engine == "onnx"
    assert Segmenter.load(tiny_int8, "torch", "cpu").engine == "torch"


def test_a_gpu_takes_torch(tiny_int8: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr(engines, "_best_device", lambda: "cpu")
    assert isinstance(load_engine(tiny_int8), TorchEngine)


def test_the_gpu_that_zero_gpu_plays_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert engines._best_device() == "cuda"
    monkeypatch.setenv(engines.ZERO_GPU, "true")
    assert engines._best_device() == "cpu"


def test_a_gpu_that_runs_nothing_is_left(
    tiny_int8: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr(engines, "_best_device", lambda: "meta")  # takes weights, gives no numbers
    assert load_engine(tiny_int8).name == "onnx"
    assert "The CPU is used instead" in caplog.text
    with pytest.raises(InputError, match="'meta' cannot be used here"):
        load_engine(tiny_int8, "torch")


def test_without_a_sign_of_a_gpu_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(engines, "_best_device", lambda: pytest.fail("asked"))
    assert not engines.has_gpu()


def test_a_gpu_without_torch_is_of_no_use(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")  # an NVIDIA driver
    monkeypatch.setattr(engines, "find_spec", lambda name: None)  # as if it were not installed
    assert load_engine(folder).name == "onnx"
    truncated(folder)
    with pytest.raises(InputError, match="is damaged"):
        load_engine(folder)


def missing(folder: Path) -> None:
    (folder / ONNX_NAME).unlink()


def truncated(folder: Path) -> None:
    content = (folder / ONNX_NAME).read_bytes()
    (folder / ONNX_NAME).write_bytes(content[: len(content) // 2])


def empty(folder: Path) -> None:
    (folder / ONNX_NAME).write_bytes(b"")


def of_other_weights(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")


def of_no_known_weights(folder: Path) -> None:
    proto = onnx.load(folder / ONNX_NAME)
    del proto.metadata_props[:]
    onnx.save(proto, folder / ONNX_NAME)


def of_something_else(folder: Path) -> None:
    """A good ONNX file whose metadata is right and which is no such network."""
    proto = onnx.load(folder / ONNX_NAME)
    del proto.graph.output[:2]
    onnx.save(proto, folder / ONNX_NAME)


def of_no_classes(folder: Path) -> None:
    config = checkpoint.read_json(folder, "config.json")
    checkpoint.write_json(folder / "config.json", config | {"classes": None})


def of_strange_metadata(folder: Path) -> None:
    proto = onnx.load(folder / ONNX_NAME)
    for one in proto.metadata_props:
        if one.key == CONFIG_KEY:
            one.value = "no JSON"
    onnx.save(proto, folder / ONNX_NAME)


def of_another_rank(folder: Path) -> None:
    proto = onnx.load(folder / ONNX_NAME)
    (score,) = (node for node in proto.graph.node if MAPS[0] in node.output)
    score.output[0] = "map"
    proto.graph.node.append(onnx.helper.make_node("ReduceSum", ["map"], [MAPS[0]], keepdims=0))
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(proto, folder / ONNX_NAME)


def of_another_count(folder: Path) -> None:
    """One map has a class less than the others, and than it declares."""
    proto = onnx.load(folder / ONNX_NAME)
    (score,) = (node for node in proto.graph.node if MAPS[1] in node.output)
    score.output[0] = "map"
    for name, value in (("first", 0), ("last", -1), ("axis", 1)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
    cut = onnx.helper.make_node("Slice", ["map", "first", "last", "axis"], [MAPS[1]])
    proto.graph.node.append(cut)
    (declared,) = (one for one in proto.graph.output if one.name == MAPS[1])
    declared.type.tensor_type.ClearField("shape")
    onnx.save(proto, folder / ONNX_NAME)


def of_another_kernel(folder: Path) -> None:
    proto = onnx.load(folder / ONNX_NAME)
    (kernel,) = (one for one in proto.graph.output if one.name == "upscore16")
    proto.graph.output.remove(kernel)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = ["upscore16a" if name == "upscore16" else name for name in names]
    for one in proto.graph.initializer:
        one.name = "upscore16a" if one.name == "upscore16" else one.name
    proto.graph.node.append(onnx.helper.make_node("Identity", ["upscore8"], ["upscore16"]))
    kernel.type.tensor_type.ClearField("shape")
    proto.graph.output.append(kernel)
    onnx.save(proto, folder / ONNX_NAME)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (of_no_classes, "classes"),
        (of_strange_metadata, "is no JSON object"),
        (of_another_rank, "another network"),
        (of_another_count, "another network"),
        (of_another_kernel, "another network"),
    ],
)
def test_what_is_not_meant_is_told_before_it_is_used(spoil, told: str, folder: Path):
    spoil(folder)
    with pytest.raises(InputError, match=told):
        Segmenter.load(folder, "onnx")


@pytest.mark.parametrize("has_amx", [False, True])
def test_a_file_takes_no_weights_from_the_working_folder(
    has_amx: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(amx, "has_amx", lambda: has_amx)
    monkeypatch.chdir(tmp_path)
    proto = onnx.load(folder / ONNX_NAME)
    stored = {one.name: one for one in proto.graph.initializer}
    for name in ("backbone.stage5.conv5_1.weight_quantized", "upscore32"):
        Path(name).write_bytes(stored[name].raw_data)
        onnx.external_data_helper.set_external_data(stored[name], location=name)
        stored[name].ClearField("raw_data")
    (folder / ONNX_NAME).write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match="is damaged or cannot be run here"):
        Segmenter.load(folder, "onnx")


def test_a_file_that_loads_but_does_not_run_is_told(folder: Path):
    proto = onnx.load(folder / ONNX_NAME)
    for size, side in zip(
        proto.graph.input[0].type.tensor_type.shape.dim, (*engines.PROBE, 3), strict=True
    ):
        size.dim_value = side
    onnx.save(proto, folder / ONNX_NAME)
    segmenter = Segmenter.load(folder, "onnx")
    with pytest.raises(InputError, match="cannot be run here"):
        segmenter(Image.new("RGB", (64, 96)))


FAULTS = {
    missing: "is missing",
    truncated: "is damaged",
    empty: "is damaged",
    of_other_weights: "other weights",
    of_no_known_weights: "other weights",
    of_something_else: "another network",
}


@pytest.mark.parametrize("spoil", FAULTS)
def test_a_file_that_cannot_be_used_is_told_and_torch_runs(spoil, folder: Path, caplog):
    spoil(folder)
    with pytest.raises(InputError, match=FAULTS[spoil]) as caught:
        Segmenter.load(folder, "onnx")
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter.load(folder, device="cpu")
    assert segmenter.engine == "torch"
    assert [FAULTS[spoil] in record.getMessage() for record in caplog.records] == [True]
    assert segmenter(Image.new("RGB", (9, 9))).size == (9, 9)


def test_without_onnx_runtime_torch_runs(tiny_int8: Path, caplog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    assert Segmenter.load(tiny_int8, device="cpu").engine == "torch"
    assert len(caplog.records) == 1 and "ONNX Runtime" in caplog.text
    with pytest.raises(InputError, match="ONNX Runtime"):
        Segmenter.load(tiny_int8, "onnx")


def test_the_weights_may_be_left_out(folder: Path):
    """A server without torch has no use for them."""
    (folder / "model.safetensors").unlink()
    assert Segmenter.load(folder, "onnx")(Image.new("RGB", (40, 30))).size == (40, 30)


def test_where_there_is_no_torch_an_int8_file_stands_in_for_its_own_weights_alone(tiny_int8: Path):
    digests = fingerprint(tiny_int8 / checkpoint.WEIGHTS_NAME), "0" * 64
    own, other = (
        Listing("me/net", "abc", {checkpoint.WEIGHTS_NAME: RemoteFile(1, one)}) for one in digests
    )
    check_stand_in(tiny_int8, own)
    with pytest.raises(InputError, match="me/net has a model_int8.onnx of other weights"):
        check_stand_in(tiny_int8, other)


def test_onnx_runs_on_the_cpu_alone(tiny_int8: Path):
    with pytest.raises(InputError, match="CPU alone, not on 'cuda'"):
        Segmenter.load(tiny_int8, "onnx", "cuda")


SERVE = """
import sys, gradio
gradio.Blocks.launch = lambda *arguments, **options: None
import app
sys.exit(app.main(["--model", sys.argv[1]]) or "torch" in sys.modules)
"""
SEGMENT = """
import sys
from fcn.__main__ import main
photo, out = sys.argv[2:]
status = main(["segment", photo, "--checkpoint", sys.argv[1], "--output", out])
sys.exit(status or "torch" in sys.modules)
"""
LEARN = """
import sys
from fcn.demo import learn
from fcn.segmenter import Segmenter
told = learn.answer(Segmenter.load(sys.argv[1]))
sys.exit(len(told["parts"]) != 6 or "torch" in sys.modules)
"""


@pytest.mark.skipif(engines.has_gpu(), reason="auto asks torch on a machine with a GPU")
@pytest.mark.parametrize("code", [SERVE, SEGMENT, LEARN], ids=["app", "segment", "learn"])
def test_serving_from_onnx_needs_no_torch(code: str, tiny_int8: Path, root: Path, tmp_path: Path):
    photo = tmp_path / "photo.png"
    Image.fromarray(picture(50, 40)).save(photo)
    command = [sys.executable, "-c", code, str(tiny_int8), str(photo), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
