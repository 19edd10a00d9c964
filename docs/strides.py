"""Draw what each skip buys: ``python -m docs.strides CHECKPOINT docs/strides.png``.

A scene of shapes that the network has not seen, its segments at strides 32, 16 and 8 from the same
weights, and its labels. CHECKPOINT is of ``train.py --dataset shapes``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fcn.data.shapes import draw_scene
from fcn.inference.fusion import STRIDES
from fcn.metrics import ConfusionMatrix
from fcn.segmenter import Segmenter

SEED, SIZE = 19, 480


def draw(segmenter: Segmenter) -> Figure:
    """Five panels beside one another: scene, FCN-32s, FCN-16s, FCN-8s, labels."""
    scene, labels = draw_scene(SEED, SIZE)
    panels = [("scene", scene)]
    for stride in STRIDES:
        found = segmenter(scene, stride)
        matrix = ConfusionMatrix(segmenter.classes)
        matrix.update(labels, found.labels)
        title = f"FCN-{stride}s: {100 * matrix.mean_iou:.1f} mIoU here"
        panels.append((title, found.overlay(scene, 0.85)))
    palette = np.array(segmenter.palette, np.uint8)
    panels.append(("label", Image.fromarray(palette[labels])))
    figure = Figure(figsize=(15, 2.6), dpi=100, layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=12)
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw what each skip buys.")
    parser.add_argument("checkpoint", help="of train.py --dataset shapes")
    parser.add_argument("output", type=Path, help="PNG")
    args = parser.parse_args()
    draw(Segmenter.load(args.checkpoint)).savefig(args.output)
