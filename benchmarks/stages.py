"""Where the time goes from a file to the page's answer: ``python benchmarks/stages.py``.

The page's way with the int8 engine, step by step, for photos of 0.3, 2 and 12 megapixels. Medians
over turns; each stage waits for the one before, so the sum is the whole.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from measuring import build_parser, draw_chart, draw_photo, report, summarise
from PIL import Image

from fcn.demo.answer import result_for_page
from fcn.demo.viewer import LONGEST_SIDE
from fcn.errors import InputError
from fcn.inference.engines import OnnxEngine
from fcn.inference.fusion import fuse
from fcn.photo import is_shown_alike, open_photo
from fcn.resizing import network_size
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter

PHOTOS = ((640, 480), (1632, 1224), (4000, 3000))
Result = TypeVar("Result")


class Laps:
    """Seconds of stages, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, stage: str, work: Callable[[], Result]) -> Result:
        """Run a stage."""
        start = time.perf_counter()
        result = work()
        self.seconds[stage].append(time.perf_counter() - start)
        return result


def answer(engine: OnnxEngine, file: Path, laps: Laps) -> None:
    """Go the page's way once."""
    segmenter = Segmenter(engine, "benchmark")
    photo = laps.time("decode", lambda: open_photo(file, longest=LONGEST_SIDE))
    size = network_size(photo.size, segmenter.inference_size)
    small = laps.time("scale", lambda: np.array(photo.resize(size, Image.Resampling.BILINEAR)))
    maps = laps.time("network", lambda: engine.maps(small))
    shape = small.shape[:2]
    scores = laps.time("add skips", lambda: fuse(maps, engine.kernels, segmenter.stride, shape))
    found = laps.time("upscale and decide", lambda: segmenter.decide(scores, photo.size))
    names = segmenter.classes, segmenter.palette, segmenter.source
    segmentation = Segmentation(*found, *names, seconds=0)
    sent = str(file) if is_shown_alike(file, LONGEST_SIDE) else ""
    laps.time("encode", lambda: result_for_page(segmenter, photo, segmentation, "photo", sent))


def measure(model: Path, repeats: int) -> list[dict[str, Any]]:
    """All rows of the table."""
    engine = OnnxEngine.load(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for width, height in PHOTOS:
            file = Path(folder, "photo.jpg")
            draw_photo(width, height).save(file, quality=92)
            answer(engine, file, Laps())  # warms up
            laps = Laps()
            for _ in range(repeats):
                answer(engine, file, laps)
            size = f"{width}x{height}"
            stages = [summarise(name, size, took) for name, took in laps.seconds.items()]
            whole = sum(row["median_s"] for row in stages)
            rows += [{**row, "share": row["median_s"] / whole} for row in stages]
    return rows


def main() -> None:
    """Measure, print and draw."""
    args = build_parser(__doc__, repeats=7).parse_args()
    try:
        rows = measure(args.model, args.repeats)
    except InputError as error:
        raise SystemExit(str(error)) from error
    report(rows, args.json, checkpoint=args.model.name)
    if args.chart:
        draw_chart(rows, args.chart, "From a photo's file to the page's answer")


if __name__ == "__main__":
    main()
