"""What the benchmarks share. Import it first: it puts the project on the path.

The convention: things that are compared are timed in turns in one process, so that a noisy machine
is as unfair to one as to the other; the first turn warms up and does not count; medians are told
with their spread.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Work = Callable[[], object]


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


def describe_machine() -> str:
    """The processor and how busy it is: a time means little without it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = next(iter(names), model)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores of {model}{load}"


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
