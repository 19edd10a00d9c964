"""Wide convolutions as matrix products: which are rewritten, to the same numbers, and when."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from fcn.inference import amx
from fcn.inference.engines import ONNX_NAME, OnnxEngine


def zero_points(content: bytes) -> list[tuple[bool, int]]:
    """Of each quantised convolution whether it is wide, and its zero point."""
    graph = onnx.ModelProto.FromString(content).graph
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    weights = [node for node in nodes if stored.get(node.input[0], np.empty(0)).ndim == 4]
    return sorted(
        (min(stored[node.input[0]].shape[:2]) >= 256, int(stored[node.input[2]].max()))
        for node in weights
    )


def test_the_wide_layers_alone_get_a_zero_point(tiny_int8: Path):
    content = (tiny_int8 / ONNX_NAME).read_bytes()
    # conv3_2 to conv5_3 are wide; the tiny network's fc6 and fc7 are not.
    assert zero_points(content) == [(False, 0)] * 7 + [(True, 0)] * 8
    assert zero_points(amx.prefer_products(content)) == [(False, 0)] * 7 + [(True, 1)] * 8


def test_a_rewritten_file_gives_the_same_numbers(tiny_int8: Path, monkeypatch: pytest.MonkeyPatch):
    image = np.random.default_rng(1).integers(0, 256, (75, 90, 3), np.uint8)
    maps = []
    for has_amx in (True, False):
        monkeypatch.setattr(amx, "has_amx", lambda answer=has_amx: answer)
        maps.append(OnnxEngine.load(tiny_int8).maps(image))
    for name, scores in maps[0].items():
        np.testing.assert_array_equal(scores, maps[1][name])


def test_without_amx_or_onnx_the_file_is_left(tiny_int8: Path, monkeypatch: pytest.MonkeyPatch):
    content = (tiny_int8 / ONNX_NAME).read_bytes()
    monkeypatch.setattr(amx, "has_amx", lambda: False)
    assert amx.adapted(tiny_int8 / ONNX_NAME) == content
    monkeypatch.setattr(amx, "has_amx", lambda: True)
    assert amx.adapted(tiny_int8 / ONNX_NAME) != content
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    assert amx.adapted(tiny_int8 / ONNX_NAME) == content
