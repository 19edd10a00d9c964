"""How an FCN works, in six parts, each with pictures that a network makes of one photo.

The page shows them (``learn.py``) and so does the tutorial (``docs/tutorial.py``). The convention:
nothing here imports torch, which a server of int8 weights does without: score maps come from
whatever engine runs, filters from the weights' file, and source is read as text.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from .. import checkpoint
from ..data.datasets import DATASETS
from ..data.shapes import SHAPES, draw_scene
from ..data.transforms import Augmentation, augment
from ..inference.fusion import MAPS, STRIDES, add_skips, upscore
from ..segmenter import Segmenter
from . import sketches
from .excerpt import Excerpt, constant, excerpt
from .subject import Part, Picture, Subject

SCENE = 19  # the seed of the drawn scene
LARGEST_CROP = 1024  # pixels
MAP_STRIDES = dict(zip(MAPS, STRIDES, strict=True))


def tell_data(subject: Subject) -> Part:
    """Part 1: the photo as the trainer would change it, and a pair of scene and labels."""
    folder = subject.segmenter.folder
    augmentation = choose_augmentation(checkpoint.read_recipe(folder) if folder else {})
    draws = np.random.default_rng(0)
    pictures = [Picture("The photo", subject.seen)]
    for number in (1, 2, 3):
        (sample,) = augment([subject.photo], augmentation, draws)
        pictures.append(Picture(f"Training sample {number}", sample))
    scene, ids = draw_scene(SCENE, 480)
    labels = Image.fromarray(ids)
    pair = augment([scene, labels], augmentation, draws)
    pictures += [*show_pair("Drawn scene", scene, labels), *show_pair("A sample of it", *pair)]
    words = (
        f"The network sees this photo at {subject.seen.width} x {subject.seen.height} pixels. In"
        " training it would never see it the same way twice: each time another window at another"
        " scale, perhaps mirrored, in slightly different colours. Labels, a class for each pixel,"
        " are cut with the same window; what lies outside a photo is grey, and has no class in"
        " its labels. No example comes with labels, so a drawn scene shows a pair."
    )
    return Part(words, pictures)


def choose_augmentation(config: dict[str, Any]) -> Augmentation:
    """How the samples of a run are augmented.

    Args:
        config: As ``training.json`` has it. It may come from anyone: the defaults stand in for
            settings that cannot be meant.
    """
    try:
        height, width = (min(max(int(side), 1), LARGEST_CROP) for side in config["crop"])
        low, high = (min(max(float(one), 0.1), 10.0) for one in config["scale"])
        color = min(max(float(config["color"]), 0.0), 0.9)
        if not all(map(math.isfinite, (low, high, color))):
            raise ValueError("no number")
        size = int(config["size"]) or DATASETS[config["dataset"]].size
    except (LookupError, TypeError, ValueError, OverflowError):
        return Augmentation()
    return Augmentation((height, width), size, (low, high), bool(config.get("flip")), color)


def show_pair(caption: str, scene: Image.Image, labels: Image.Image) -> list[Picture]:
    """Show a drawn scene beside its labels (L)."""
    colors = sketches.paint(np.asarray(labels), list(SHAPES.values()))
    return [Picture(caption, scene), Picture("Its labels", colors)]


NEW_FC = (
    " They are new as well: a dilated 3x3 and a 1x1 convolution, far smaller than VGG's 7x7 with"
    " 4,096 channels."
)
CONTEXT = (
    " fc6 also adds to each cell the mean of pool5 over the whole photo, through weights of its"
    " own."
)


def tell_vgg(subject: Subject) -> Part:
    """Part 2: the shapes of this photo on its way through the network."""
    pictures = [Picture("The photo", subject.seen)]
    for stride, name in ((8, "pool3"), (16, "pool4"), (32, "pool5")):
        small = subject.seen.reduce(stride)
        title = f"{name}: {small.width} x {small.height} cells"
        pictures.append(Picture(title, small, True))
    has_context = subject.segmenter.config.get("context")
    new = "" if is_paper(subject) else NEW_FC + (CONTEXT if has_context else "")
    words = (
        "VGG is five stages of 3x3 convolutions. Each ends with a max pooling that halves the"
        " size, so there can be more channels. VGG's fc6 and fc7 were fully connected; here they"
        f" are convolutions, which take a photo of any size.{new} The pictures show each cell of a"
        " map in the mean colour of the pixels that it covers; the network has hundreds of"
        " numbers there instead."
    )
    return Part(words, pictures, shapes_table(subject))


def is_paper(subject: Subject) -> bool:
    """Whether fc6 and fc7 are VGG's own."""
    return bool(subject.segmenter.config["head"] == "paper")


def shapes_table(subject: Subject) -> list[list[str]]:
    """The maps of a photo, from layer to layer, with their weights; the first row is the head."""
    config, (width, height) = subject.segmenter.config, subject.seen.size
    widths, depths = constant("vgg", "WIDTHS"), constant("vgg", "DEPTHS")[config["backbone"]]
    paper = is_paper(subject)
    fc = constant("vgg", "PAPER_WIDTH") if paper else config["width"]
    rows = [["Layers", "Channels", "Cells (W x H)", "Stride", "Parameters"]]

    def add(name: str, channels: int, stride: int, weights: int) -> None:
        cells = f"{-(-width // stride)} x {-(-height // stride)}"
        rows.append([name, f"{channels:,}", cells, str(stride), f"{weights:,}" if weights else ""])

    add("photo", 3, 1, 0)
    before = 3
    for stage, (channels, depth) in enumerate(zip(widths, depths, strict=True), 1):
        weights = 9 * channels * (before + channels * (depth - 1)) + channels * depth
        add(f"conv{stage}_1 … conv{stage}_{depth}, pool{stage}", channels, 2**stage, weights)
        before = channels
    cells = 49 if paper else 9 + bool(config.get("context"))  # the mean counts as one
    add("fc6", fc, 32, fc * (before * cells + 1))
    add("fc7", fc, 32, fc * (fc + 1))
    for name, channels in zip(MAPS, (fc, widths[3], widths[2]), strict=True):
        count = len(subject.segmenter.classes)
        add(name, count, MAP_STRIDES[name], count * (channels + 1))
    return rows


def tell_weights(subject: Subject) -> Part:
    """Part 3: the filters of the first layer and their activations, trained and random."""
    words = (
        "VGG's weights come from ImageNet: from a million photos they learned edges and colours"
        " in the first layer, and more in each later one. Each filter looks at 3x3 pixels in"
        " three colours. "
    )
    first = read_first_layer(subject.segmenter)
    if first is None:
        words += (
            "Only the quantised file runs here; with model.safetensors beside it, this part would"
            " show the filters and their activations on the photo."
        )
        return Part(words, [])
    words += (
        "Trained filters show edges, directions and colours; random ones are noise, and their"
        " activations tell light from dark at best. The pictures are all filters, and the three"
        " activations on this photo that are least alike."
    )
    random = np.random.default_rng(0).normal(0, np.sqrt(2 / 27), first[0].shape)  # He's
    pictures = []
    for title, (weights, bias) in (
        ("Trained", first),
        ("Random", (random.astype(np.float32), np.zeros_like(first[1]))),
    ):
        answers = respond(subject, weights, bias)
        pictures.append(Picture(f"{title}: all {len(weights)}", sketches.filters(weights), True))
        for i in choose_unlike(answers, 3):
            pictures.append(Picture(f"{title}: activation of {i}", sketches.grey(answers[i])))
    return Part(words, pictures)


def read_first_layer(segmenter: Segmenter) -> tuple[np.ndarray, np.ndarray] | None:
    """Read conv1_1, (64, 3, 3, 3) and (64,) float32; None if the file of weights is not there."""
    file = segmenter.folder and segmenter.folder / checkpoint.WEIGHTS_NAME
    if not file or not file.is_file():
        return None
    from safetensors import safe_open  # which int8 weights do without

    name = "backbone.stage1.conv1_1"
    with safe_open(file, "numpy") as opened:
        tensors = [opened.get_tensor(f"{name}.{kind}") for kind in ("weight", "bias")]
    return tensors[0].astype(np.float32), tensors[1].astype(np.float32)


def respond(subject: Subject, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """conv1_1 and its ReLU of the photo at a third of its size, (64, h, w)."""
    config = subject.segmenter.config
    pixels = np.asarray(subject.seen.reduce(3), np.float32) / 255
    pixels = (pixels - np.array(config["mean"])) / np.array(config["std"])
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))  # (h, w, 3, 3, 3)
    answers = np.tensordot(weights, windows.astype(np.float32), ((1, 2, 3), (2, 3, 4)))
    return np.maximum(answers + bias[:, None, None], 0)


def choose_unlike(answers: np.ndarray, count: int) -> list[int]:
    """Choose some of (N, h, w) maps: the one that varies most, then those least like the others."""
    flat = answers.reshape(len(answers), -1)
    flat = flat - flat.mean(1, keepdims=True)
    spread = np.linalg.norm(flat, axis=1)
    flat = flat / np.maximum(spread, 1e-12)[:, None]
    chosen = [int(spread.argmax())]
    while len(chosen) < count:
        likeness = np.abs(flat @ flat[chosen].T).max(1)
        chosen.append(int(((1 - likeness) * spread).argmax()))
    return chosen


def tell_classifier(subject: Subject) -> Part:
    """Part 4: the scores of each class at stride 32, and the best class of each cell."""
    scores = subject.maps["score_fr"]
    best = scores.argmax(0).astype(np.uint8)
    pictures = [subject.heat(one.name, scores[one.id]) for one in subject.classes]
    winners = sketches.paint(best, subject.palette)
    pictures.append(Picture("The best class", winners, True))
    count, (height, width) = len(scores), best.shape
    words = (
        f"ImageNet's classifier is cut off. In its place score_fr, a 1x1 convolution on fc7,"
        f" scores {count} classes in each of {width} x {height} cells. It starts at zero,"
        " where all classes are equally likely, and learns fast on top of convolutions that"
        " already know pictures: transfer learning. Orange is a score above 0 and blue one below;"
        " in each cell, the class with the highest score wins."
    )
    return Part(words, pictures)


def bilinear_kernel(factor: int) -> np.ndarray:
    """The kernel of ``head.bilinear_kernel``, (2 factor, 2 factor)."""
    distance = np.abs(np.arange(2 * factor) + 0.5 - factor) / factor
    return np.outer(1 - distance, 1 - distance).astype(np.float32)


def tell_upsampling(subject: Subject) -> Part:
    """Part 5: a kernel, and the score map that it brings to the photo's size."""
    main, (width, height) = subject.main, subject.seen.size
    start, learned = bilinear_kernel(32), subject.segmenter.kernels["upscore32"]
    coarse = subject.maps["score_fr"]
    one = slice(main.id, main.id + 1)
    fine = upscore(coarse[one], learned[one], (height, width))[0]
    pictures = [
        Picture("The bilinear kernel, 64 x 64", sketches.heat(start, 1)),
        Picture(f"As learned for {main.name}", sketches.heat(learned[main.id, 0], 1)),
        subject.heat(f"{main.name} at stride 32", coarse[main.id]),
        subject.heat(f"{main.name}, upsampled", fine),
    ]
    moved = float(np.abs(learned[main.id, 0] - start).max())
    words = (
        "A transposed convolution spreads each score over 64 x 64 pixels, weighted by a kernel,"
        " and adds them up where they overlap. It starts as bilinear interpolation and may learn"
        f" to do better: for {main.name} no weight has moved by more than {moved:.3f}. Classes do"
        " not mix, and cell 0 stays in the top left corner, so no magic numbers are needed for"
        " cropping."
    )
    return Part(words, pictures)


def tell_skips(subject: Subject) -> Part:
    """Part 6: what pool4 and pool3 add to the scores, and what is found with them."""
    main, kernels, strides = subject.main, subject.segmenter.kernels, list(subject.found)
    pictures = []
    steps = zip(strides[1:], MAPS[1:], ("upscore2", "upscore_pool4"), strict=False)
    for stride, skip, kernel in steps:
        coarse, adds = add_skips(subject.maps, kernels, 2 * stride), subject.maps[skip]
        up = upscore(coarse, kernels[kernel], adds.shape[1:])[main.id]
        pictures.append(subject.heat(f"Stride {2 * stride}, upsampled 2x", up))
        own = float(np.abs(adds[main.id]).max())
        pictures.append(subject.heat(f"{skip} adds", adds[main.id], own))
        pictures.append(subject.heat(f"Fused at stride {stride}", up + adds[main.id]))
    pictures += [subject.overlay(f"FCN-{stride}s", stride) for stride in strides]
    words = (
        "pool5 knows what is there, but not where its edges are; pool4 and pool3 are finer. Each"
        " of them gets a 1x1 classifier of its own, whose scores are added to the upsampled"
        " coarser ones. "
    )
    if len(strides) == 1:
        return Part(f"{words}This network was trained without them, as FCN-32s.", pictures)
    answers, skips = "all three strides", "the two skips change"
    if len(strides) == 2:
        answers, skips = "the two strides that were trained", "the skip from pool4 changes"
    changed = float((subject.found[32].labels != subject.found[strides[-1]].labels).mean())
    words += (
        f"These are the scores of {main.name}; what a skip adds has its own colour scale. One"
        f" set of weights answers at {answers}; on this photo {skips} the class of"
        f" {100 * changed:.1f} % of the pixels."
    )
    return Part(words, pictures)


PARTS: dict[str, tuple[Callable[[Subject], Part], tuple[tuple[str, str], ...]]] = {
    "Loading the data": (
        tell_data,
        (("data/transforms", "augment"), ("data/transforms", "cut_window")),
    ),
    "Building VGG": (
        tell_vgg,
        (("vgg", "build_stage"), ("vgg", "build_classifier"), ("vgg", "VGG.forward")),
    ),
    "Loading weights": (tell_weights, (("vgg", "load_pretrained"), ("vgg", "copy_layer"))),
    "The new classifier": (
        tell_classifier,
        (("head", "SkipFusion.__init__"), ("head", "SkipFusion.scores")),
    ),
    "Transposed convolution": (
        tell_upsampling,
        (("head", "bilinear_kernel"), ("head", "Upscore"), ("inference/fusion", "Upscored")),
    ),
    "Fusing skips": (tell_skips, (("head", "SkipFusion.fuse"), ("inference/fusion", "add_skips"))),
}
"""By title: what makes a part, and the functions that it speaks of."""
MODULES = {module for _, functions in PARTS.values() for module, _ in functions}
"""What is read as text, and so has to be there."""


def tell(segmenter: Segmenter, photo: Image.Image) -> Iterator[tuple[str, Part, list[Excerpt]]]:
    """Tell the six parts of a photo.

    Args:
        segmenter: The network.
        photo: RGB, as ``open_photo`` gives it.

    Yields:
        The title of a part, the part, and the functions that it speaks of.

    Raises:
        InputError: If the weights are damaged.
    """
    subject = Subject(segmenter, photo)
    for title, (make, functions) in PARTS.items():
        yield title, make(subject), [excerpt(*one) for one in functions]
