"""Make the pictures and tables of ``docs/tutorial.md``: ``python -m docs.tutorial CHECKPOINT``.

Both are of the example photo that shows most of the network's classes. The tables go into the text,
each between its two comments; all else in it stays.
"""

import argparse
import platform
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fcn.demo.examples import Example, find_examples
from fcn.demo.lesson import PARTS, bilinear_kernel, shapes_table
from fcn.demo.subject import Part, Subject
from fcn.demo.viewer import LONGEST_SIDE
from fcn.photo import open_photo
from fcn.segmenter import Segmenter

TEXT = Path(__file__).with_suffix(".md")


def draw(part: Part) -> Figure:
    """A part's pictures in rows, each under its caption."""
    columns = 3 if len(part.pictures) % 3 == 0 else 4
    rows = -(-len(part.pictures) // columns)
    tallest = max(one.image.height / one.image.width for one in part.pictures)
    height = rows * (2.3 * tallest + 0.4)
    figure = Figure(figsize=(2.5 * columns, height), dpi=90, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in axes:
        place.set_axis_off()
    for place, picture in zip(axes, part.pictures, strict=False):
        place.imshow(picture.image, interpolation="nearest" if picture.is_cells else "antialiased")
        place.set_title(picture.caption, fontsize=8)
    return figure


def tabulate(rows: list[list[str]]) -> str:
    """A Markdown table of a head and rows; all but the first column are numbers."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))


def tell_network(subject: Subject, example: Example) -> str:
    """Which network, photo and machine it is."""
    segmenter, seen = subject.segmenter, subject.seen
    return (
        f"Network: `{segmenter.source}`, engine {segmenter.engine}. Photo:"
        f" `{example.file.name}` of the package {example.package}, seen at {seen.width} x"
        f" {seen.height} pixels. Machine: {platform.machine()}."
    )


def count_weights(subject: Subject) -> list[list[str]]:
    """How many weights start from ImageNet's, and how many are new."""
    weights = {row[0]: int(row[4].replace(",", "")) for row in shapes_table(subject)[2:]}
    groups = {"VGG's convolutions": "conv", "fc6 and fc7": "fc", "score layers": "score"}
    rows = [["Parameters", "Number"]]
    for title, start in groups.items():
        number = sum(one for name, one in weights.items() if name.startswith(start))
        rows.append([title, f"{number:,}"])
    kernels = sum(one.size for one in subject.segmenter.kernels.values())
    rows.append(["deconvolutions", f"{kernels:,}"])
    return rows


def list_scores(subject: Subject) -> list[list[str]]:
    """The scores at stride 32 of the classes that are found."""
    rows = [["Class", "Share of the photo", "Least", "Mean", "Largest"]]
    for one in subject.classes:
        scores = subject.maps["score_fr"][one.id]
        numbers = [f"{value:.1f}" for value in (scores.min(), scores.mean(), scores.max())]
        rows.append([one.name, f"{100 * one.share:.1f} %", *numbers])
    return rows


def list_kernels(subject: Subject) -> list[list[str]]:
    """How far each deconvolution is from bilinear."""
    rows = [["Layer", "Kernel", "Largest change of a weight", "Mean change"]]
    for name, kernel in subject.segmenter.kernels.items():
        side = kernel.shape[-1]
        moved = np.abs(kernel - bilinear_kernel(side // 2))
        rows.append([name, f"{side} x {side}", f"{moved.max():.4f}", f"{moved.mean():.5f}"])
    return rows


def list_strides(subject: Subject) -> list[list[str]]:
    """What the strides decide on the photo."""
    finest = subject.segmenter.stride
    rows = [["Network", f"Pixels decided as by FCN-{finest}s", "Mean confidence"]]
    for stride, found in subject.found.items():
        same = (found.labels == subject.found[finest].labels).mean()
        sure = found.mean_confidence
        rows.append([f"FCN-{stride}s", f"{100 * same:.1f} %", f"{100 * sure:.1f} %"])
    return rows


def write(text: Path, name: str, content: str) -> None:
    """Put a block into the text, between its comments."""
    old = text.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- numbers: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    new, count = pattern.subn(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", old)
    if count != 1:
        raise SystemExit(f"{text} has {count} places for {name}, not one.")
    text.write_text(new, encoding="utf-8")


def main(checkpoint: str, text: Path = TEXT) -> None:
    """Draw and tabulate all parts, beside the text."""
    segmenter = Segmenter.load(checkpoint)
    example, *_ = find_examples(segmenter.classes)
    subject = Subject(segmenter, open_photo(example.file, longest=LONGEST_SIDE))
    for number, (make, _) in enumerate(PARTS.values(), 1):
        file = text.with_name(f"{text.stem}-{number}.jpg")
        draw(make(subject)).savefig(file, pil_kwargs={"quality": 82})
    write(text, "network", tell_network(subject, example))
    tables = {
        "shapes": shapes_table(subject),
        "weights": count_weights(subject),
        "scores": list_scores(subject),
        "kernels": list_kernels(subject),
        "strides": list_strides(subject),
    }
    for name, rows in tables.items():
        write(text, name, tabulate(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the tutorial's pictures and tables.")
    parser.add_argument("checkpoint", help="such as checkpoints/animals")
    main(parser.parse_args().checkpoint)
