"""A run in pictures: learning curves, IoU by class, confusion.

The convention: scores come in as fractions of 1, from a checkpoint's JSON files, and are drawn in
per cent.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def build_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure without pyplot's global state, so that it draws in any thread."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_curves(history: list[dict[str, float]]) -> Figure:
    """Training loss and validation scores over the steps."""
    figure, axes = build_figure(7, 4)
    losses = [entry for entry in history if "loss" in entry]
    scores = [entry for entry in history if "mean_iou" in entry]
    axes.plot([e["step"] for e in losses], [e["loss"] for e in losses], color="0.6", lw=1)
    axes.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    right = axes.twinx()
    right.spines[["top"]].set_visible(False)
    for key, label in (("mean_iou", "mIoU"), ("pixel_accuracy", "pixel accuracy")):
        values = [100 * entry[key] for entry in scores]
        right.plot([entry["step"] for entry in scores], values, "o-", ms=3, label=f"val {label}")
    right.set(ylabel="per cent", ylim=(0, 100))
    if scores:
        right.legend(loc="center right", frameon=False)
    return figure


def plot_per_class(metrics: dict[str, Any]) -> Figure:
    """IoU of each class, best first."""
    known = {name: iou for name, iou in metrics["per_class_iou"].items() if iou is not None}
    names = sorted(known, key=lambda name: known[name])
    figure, axes = build_figure(7, 0.8 + 0.26 * max(len(names), 1))
    ticks = range(len(names))
    bars = axes.barh(ticks, [100 * known[name] for name in names], height=0.7)
    axes.set_yticks(ticks, names, parse_math=False)  # a dollar is a dollar
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.axvline(100 * metrics["mean_iou"], color="0.4", lw=1, ls="--")
    axes.set(xlim=(0, 105), xlabel=f"IoU in per cent, mean {100 * metrics['mean_iou']:.1f} dashed")
    axes.margins(y=0.02)
    return figure


def plot_confusion(metrics: dict[str, Any]) -> Figure:
    """What each class's pixels were called, as a share of that class."""
    counts = np.array(metrics["confusion"], dtype=np.float64)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = len(shares)
    side = min(3 + 0.4 * size, 16)
    figure, axes = build_figure(side, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    ticks, names, points = range(size), metrics["classes"], min(8, 700 / size)
    axes.set_xticks(ticks, names, parse_math=False, fontsize=points)
    axes.set_yticks(ticks, names, parse_math=False, fontsize=points)
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="right", rotation_mode="anchor")
    axes.set(xlabel="prediction", ylabel="label", title="Share of each label's pixels, in per cent")
    for row in range(size if size <= 25 else 0):
        for column in range(size):
            share = shares[row, column]
            if share >= 0.5:
                color = "white" if share > 55 else "black"
                axes.text(
                    column, row, f"{share:.0f}", ha="center", va="center", color=color, size=7
                )
    return figure
