"""How fast networks are on a CPU: ``python benchmarks/latency.py``.

Our engines beside torchvision's networks, in turns in one process, with two threads each: Linux
holds the process to two cores, and elsewhere ours take as many as there are. The convention: a time
goes from one uint8 RGB picture to a label map of its size, with no scaling in between. Ours go the
whole way that the product goes, with confidences; torchvision's are run as its documentation does.
Theirs have random weights, and so have ours of 150 classes, of the size of Scene Parsing; weights
change no time. Peak memory is that of a process of its own for each row.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    Work,
    build_parser,
    draw_chart,
    draw_photo,
    memory,
    report,
    summarise,
    take_turns,
)
from PIL import Image

from fcn.errors import InputError
from fcn.segmenter import Segmenter

THREADS = 2  # of a free Space
SIZES = ((512, 384), (1024, 768))
ENGINES = {"int8": "onnx", "torch": "torch"}
PEERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large")
Segment = Callable[[np.ndarray], np.ndarray]


def ours(folder: Path, engine: str) -> Segment:
    """The whole way of the product, but that photos are not scaled."""
    segmenter = Segmenter.load(folder, engine, "cpu")
    segmenter.inference_size = 0
    return lambda image: segmenter(Image.fromarray(image)).labels


def peer(name: str) -> Segment:
    """A network of torchvision, with the preparation that its weights ask for."""
    import torch
    from torchvision.models import segmentation

    network = getattr(segmentation, name)(weights=None, weights_backbone=None).eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    @torch.inference_mode()
    def segment(image: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        return network((images - mean) / std)["out"][0].argmax(0).byte().numpy()

    return segment


def load(name: str, model: Path, many: Path) -> Segment:
    """What a row measures: ``ours-ENGINE``, the same with ``-150``, or ``torchvision-NETWORK``."""
    maker, _, what = name.partition("-")
    if maker == "ours":
        engine, _, classes = what.partition("-")
        return ours(many if classes else model, ENGINES[engine])
    return peer(what)


def export_many(folder: Path) -> None:
    """Write a checkpoint of 150 classes and random weights, with its int8 file."""
    from fcn import saving
    from fcn.export import export_checkpoint
    from fcn.model import FCN
    from fcn.palette import SCENE_PARSING

    saving.write(folder, FCN(list(SCENE_PARSING)))
    export_checkpoint(folder, [np.array(draw_photo(96, 96))])


def hold_cores() -> None:
    """Leave this process, and those that it starts, as many cores as a row has threads.

    Whatever counts cores, when it loads or at each picture, then counts these.
    """
    if hasattr(os, "sched_setaffinity"):  # Linux alone
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def measure_memory(jobs: Sequence[tuple[Any, ...]]) -> list[float]:
    """MB that fresh processes take at most to load a network and run it twice."""
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        return pool.starmap(run_twice, jobs, chunksize=1)


def run_twice(name: str, model: Path, many: Path, size: tuple[int, int]) -> float:
    """Peak memory in MB of this process after two runs."""
    segment = load(name, model, many)
    image = np.array(draw_photo(*size))
    segment(image), segment(image)
    return memory()[1]


def count_operations(work: Work) -> float:
    """GFLOP of a run in torch, two for a multiplication and addition."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def measure_products() -> dict[str, float]:
    """Operations per second of a large matrix product, in float32 by torch and in int8 by ONNX."""
    import onnxruntime
    import torch
    from onnx import TensorProto, helper, numpy_helper

    size = 2048
    one, other = torch.rand(size, size), torch.rand(size, size)
    values = np.random.default_rng(0).integers(0, 128, (size, size), np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [size, size])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [size, size])],
        [numpy_helper.from_array(values, "b")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    works: dict[str, Work] = {
        "float32": lambda: one @ other,
        "int8": lambda: session.run(None, {"a": values.view(np.uint8)}),
    }
    return {
        key: 2 * size**3 / statistics.median(taken) for key, taken in take_turns(works, 7).items()
    }


def measure(model: Path, repeats: int, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """All rows of the table."""
    import torch

    torch.set_num_threads(THREADS)
    names = [f"ours-{engine}" for engine in ENGINES] + [f"torchvision-{one}" for one in PEERS]
    names += [f"ours-{engine}-150" for engine in ENGINES]
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder, "many")
        export_many(many)
        segments = {name: load(name, model, many) for name in names}
        keys = [(name, size) for size in sizes for name in names]
        peaks = measure_memory([(name, model, many, size) for name, size in keys])
    images = {size: np.array(draw_photo(*size)) for size in sizes}
    works: dict[Any, Work] = {
        (name, size): partial(segments[name], images[size]) for name, size in keys
    }
    print("Everything is loaded; timing.", file=sys.stderr, flush=True)
    products = measure_products()
    seconds = take_turns(works, repeats)
    rows = []
    for peak, ((name, size), taken) in zip(peaks, seconds.items(), strict=True):
        # The int8 file is the same network as torch runs, where operations can be counted.
        gflop = count_operations(works[name.replace("int8", "torch"), size])
        row = summarise(name, "{}x{}".format(*size), taken, peak_mb=peak, gflop=gflop)
        product = products["int8" if "int8" in name else "float32"]
        row["share_of_product"] = 1e9 * gflop / row["median_s"] / product
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print and draw."""
    args = build_parser(__doc__, repeats=7).parse_args()
    hold_cores()
    try:
        rows = measure(args.model, args.repeats, SIZES)
    except InputError as error:
        raise SystemExit(str(error)) from error
    report(rows, args.json, threads=THREADS, checkpoint=args.model.name)
    if args.chart:
        draw_chart(rows, args.chart, f"One picture to its label map, {THREADS} threads")


if __name__ == "__main__":
    main()
