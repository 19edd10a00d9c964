"""What the benchmarks share. Import it first: it puts the project on the path.

The convention: things that are compared are timed in turns in one process, so that a noisy machine
is as unfair to one as to the other; the first turn warms up and does not count; medians are told
with their spread.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

Work = Callable[[], object]


def bundled() -> Path:
    """The checkpoint that is measured by default: what ``app.py`` serves by default."""
    animals, street = (ROOT / "checkpoints" / name for name in ("animals", "street"))
    return animals if animals.is_dir() else street


def draw_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A photo of any size: one that Gradio brings, enlarged, with another grain for each seed."""
    # Found without an import, which would count as a network's memory.
    package = importlib.util.find_spec("gradio")
    assert package is not None and package.origin is not None
    file = Path(package.origin).parent / "media_assets" / "images" / "cheetah.jpg"
    photo = Image.open(file).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).integers(-6, 7, (height, width, 1), np.int16)
    return Image.fromarray((np.array(photo) + grain).clip(0, 255).astype(np.uint8))


def take_turns(works: Mapping[Any, Work], repeats: int) -> dict[Any, list[float]]:
    """Seconds of each call of each work, every work once in each turn."""
    seconds: dict[Any, list[float]] = {key: [] for key in works}
    for turn in range(repeats + 1):
        for key, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[key].append(time.perf_counter() - start)
    return seconds


def summarise(name: str, size: str, seconds: Sequence[float], **more: Any) -> dict[str, Any]:
    """A row of a table: median, extremes and what else is known."""
    return {
        "name": name,
        "size": size,
        "median_s": statistics.median(seconds),
        "fastest_s": min(seconds),
        "slowest_s": max(seconds),
        **more,
    }


def memory(process: int | str = "self") -> tuple[float, float]:
    """MB that a process holds now, and at most so far; of this one the most alone outside Linux."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts in bytes
        return most, most
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, most = (int(fields[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return now, most


def describe_machine() -> str:
    """The processor and how busy it is: a time means little without it."""
    from fcn.cores import count_cores

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = next(iter(names), model)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{count_cores()} cores of {model}{load}"


def build_parser(doc: str | None, repeats: int) -> argparse.ArgumentParser:
    """The flags of a benchmark of a checkpoint, which its module's docstring describes."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled(), help="checkpoint with int8 file")
    parser.add_argument("--repeats", type=int, default=repeats, help="turns that count")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def report(rows: Sequence[dict[str, Any]], as_json: bool, **more: Any) -> None:
    """Print rows as a Markdown table, or with everything else as one JSON object."""
    if as_json:
        print(json.dumps({"machine": describe_machine(), **more, "rows": rows}))
        return
    heads = list(rows[0])
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for row in rows:
        cells = (f"{one:.3g}" if isinstance(one, float) else str(one) for one in row.values())
        print(f"| {' | '.join(cells)} |")
    print("; ".join([describe_machine(), *(f"{key} {value}" for key, value in more.items())]))


def draw_chart(rows: Sequence[dict[str, Any]], file: Path, title: str) -> None:
    """Draw the medians of rows as bars, a panel for each size, with whiskers to the extremes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = list(dict.fromkeys(row["size"] for row in rows))
    groups = [[row for row in rows if row["size"] == size][::-1] for size in sizes]
    figure, panels = pyplot.subplots(
        len(sizes),
        figsize=(8, 0.8 + sum(0.5 + 0.32 * len(group) for group in groups)),
        height_ratios=[len(group) for group in groups],
        squeeze=False,
        layout="constrained",
    )
    for size, group, panel in zip(sizes, groups, panels[:, 0], strict=True):
        names, medians = [row["name"] for row in group], [row["median_s"] for row in group]
        colors = ["tab:gray" if name.startswith("torchvision") else "tab:cyan" for name in names]
        reach = [
            [row["median_s"] - row["fastest_s"] for row in group],
            [row["slowest_s"] - row["median_s"] for row in group],
        ]
        bars = panel.barh(names, medians, color=colors, xerr=reach, ecolor="0.35")
        panel.bar_label(bars, [f" {one:.3g} s" for one in medians], padding=3)
        panel.margins(x=0.15)
        panel.set_title(size, loc="left", fontsize="medium")
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("seconds: median, fastest and slowest")
    figure.suptitle(title)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
