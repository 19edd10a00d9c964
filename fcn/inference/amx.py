"""Wide int8 convolutions by matrix products, on processors whose matrix products are much faster.

ONNX Runtime has two ways to an int8 convolution on an x86 processor: a kernel of its own, by the
instructions of VNNI, and a matrix product, which uses AMX where there is AMX. It takes the first
wherever weights have no zero point, so a processor with AMX does better without it in layers of
many channels. ``prefer_products`` gives these a zero point of 1 and adds 1 to their weights: the
same numbers, by the other way. Other processors are left alone; the product is slower on them.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

WIDE = 256  # channels in and out; below, arranging a product's operands takes longer than it saves


def adapted(file: Path) -> bytes:
    """Read an int8 ONNX file as is best for this processor.

    Raises:
        OSError, google.protobuf.message.DecodeError: If it cannot be read.
    """
    content = file.read_bytes()
    if has_amx():
        with suppress(ImportError):  # a host may do without onnx
            return prefer_products(content)
    return content


@cache
def has_amx() -> bool:
    """Whether this processor multiplies int8 matrices by AMX; as far as Linux tells."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_int8" in cpuinfo.read_text(encoding="utf-8")


def prefer_products(content: bytes) -> bytes:
    """Rewrite an int8 ONNX file so that its wide convolutions are matrix products.

    Args:
        content: The file, whose weights are int8 below 127 and have zero points of 0 by channel.

    Returns:
        A file that gives the same results.

    Raises:
        ImportError: If onnx is not installed.
        google.protobuf.message.DecodeError: If it is no ONNX file.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.ModelProto.FromString(content)
    stored = {one.name: one for one in proto.graph.initializer}
    for node in proto.graph.node:
        names = node.input[0], node.input[-1]  # of values and zero points
        if node.op_type != "DequantizeLinear" or not stored.keys() >= set(names):
            continue
        if any(stored[name].data_location == onnx.TensorProto.EXTERNAL for name in names):
            continue  # in another file, which a stranger chose
        weights, zeros = (numpy_helper.to_array(stored[name]) for name in names)
        is_wide = weights.ndim == 4 and min(weights.shape[:2]) >= WIDE
        if is_wide and weights.dtype == np.int8 and weights.max() < 127 and not zeros.any():
            for name, values in zip(names, (weights, zeros), strict=True):
                stored[name].CopyFrom(numpy_helper.from_array(values + np.int8(1), name))
    return proto.SerializeToString()
