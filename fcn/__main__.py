"""The command line: ``python -m fcn segment | evaluate | check``.

The convention: results go to stdout, progress and complaints to stderr. What a user can get wrong
ends in one sentence and exit status 1 (2 for flags), never in a traceback.
"""

import argparse
import itertools
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .check import check_dataset
from .datasets import DATASETS, OTHERS, SegmentationDataset, open_dataset
from .errors import InputError
from .evaluation import describe, evaluate
from .photo import PhotoError, open_photo, photos_in
from .segmentation import BACKGROUND, ENDINGS
from .segmenter import ENGINES, STRIDES, Segmenter

OVERVIEW = """\
examples:
  python -m fcn segment street.jpg --output out
  python -m fcn evaluate checkpoints/street --dataset camvid --data DIR --split val
  python -m fcn check --dataset folder --data DIR

`python -m fcn COMMAND --help` tells more. Training is `python train.py`, the page `python app.py`.
"""
SEGMENT = """\
Name and colour what photos show. For photo.jpg, three files are written into the output folder:

  photo.png           an indexed PNG: each pixel's value is its class, its colour the palette's
  photo_overlay.png   the photo with the classes painted over it
  photo.json          each class with its colour, pixels, share of the picture and confidence

All have the photo's size. Photos of equal names are numbered (photo-2.png). A file that is not a
photo is reported and the others go on; the exit status is 1 if any failed.
"""
SEGMENT_EXAMPLES = """\
examples:
  python -m fcn segment street.jpg --output out
  python -m fcn segment holiday/ garden.png --checkpoint runs/voc --output out --opacity 0.8
"""
EVALUATE = """\
Score a checkpoint on a split whose labels are known: mean IoU, pixel accuracy and more.

Photos go through the same steps as when they are served. Labels are compared at their own
resolution in one confusion matrix over the split; 255 is ignored. Scores are in per cent in the
table and fractions of 1 with --json.
"""
EVALUATE_EXAMPLES = """\
examples:
  python -m fcn evaluate checkpoints/street --dataset camvid --data DIR --split val
  python -m fcn evaluate runs/voc --dataset voc --data DIR --stride 32 --json > scores.json
"""
CHECK = """\
Read every pair of a data set and report, a line each, what would spoil training: damaged files,
masks of another size or with colours or values that are no class, photos without masks.
The exit status is 1 if there are errors; warnings are only told.
"""
CHECK_EXAMPLES = """\
examples:
  python -m fcn check --dataset folder --data DIR
  python -m fcn check --dataset voc --data DIR --split train val --classes cat dog
"""


def find_bundled() -> Path:
    """Where ``checkpoints/street`` lies beside the package, as seen from the current folder."""
    folder, here = Path(__file__).resolve().parents[1] / "checkpoints" / "street", Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def choose_stems(photos: Sequence[Path], folder: Path) -> list[str]:
    """Choose names for the results so that none overwrites another, or a photo.

    Args:
        photos: The photos, in order.
        folder: Where the results will be.

    Returns:
        For each photo its own stem, with a number where that is taken.
    """
    # Lower case, because some file systems take A.png and a.png for one file.
    taken = {photo.name.lower() for photo in photos if photo.resolve().parent == folder.resolve()}
    stems = []
    for photo in photos:
        for number in itertools.count(1):
            stem = photo.stem if number == 1 else f"{photo.stem}-{number}"
            names = {f"{stem}{ending}".lower() for ending in ENDINGS}
            if not names & taken:
                break
        taken |= names
        stems.append(stem)
    return stems


def segment(args: argparse.Namespace) -> int:
    """Segment photos into files; returns 1 if any failed."""
    args.output.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter.load(args.checkpoint, args.engine, args.device)
    photos: list[Path] = []
    failed = 0
    for path in args.photos:
        try:
            photos += photos_in([path])
        except PhotoError as error:
            failed += 1
            print(error, file=sys.stderr)
    photos = list(dict.fromkeys(photos))
    stems = choose_stems(photos, args.output)
    # disable=None shows the bar on a terminal only.
    for path, stem in zip(tqdm(photos, unit="photo", disable=None), stems, strict=True):
        try:
            line = segment_one(segmenter, path, stem, args)
            tqdm.write(line, file=sys.stdout)
        except InputError as error:
            failed += 1
            tqdm.write(str(error), file=sys.stderr)
    return int(failed > 0)


def segment_one(segmenter: Segmenter, path: Path, stem: str, args: argparse.Namespace) -> str:
    """Write the three files of one photo, and say in a line what it shows."""
    photo = open_photo(path, name=str(path))
    result = segmenter(photo, args.stride)
    files = result.save(args.output, stem, photo, args.opacity)
    shown = ", ".join(f"{one.name} {one.share:.0%}" for one in result.found()[:3])
    doubt = ""
    if result.mean_confidence < segmenter.doubt_below:
        doubt = f"; unsure: its mean confidence is only {result.mean_confidence:.0%}"
    return f"{path}: {shown}{doubt} -> {files[1]}"


def open_for(segmenter: Segmenter, args: argparse.Namespace) -> SegmentationDataset:
    """Open the split to score; without ``--classes``, with the checkpoint's if it has them all."""
    source, known = DATASETS[args.dataset], segmenter.classes
    where = (args.dataset, args.data, args.split or source.val)
    dataset = open_dataset(*where, args.classes, args.others)
    some = set(known) <= {*dataset.classes, BACKGROUND}
    if args.classes or not some or known == dataset.classes:
        return dataset
    return open_dataset(*where, known, args.others)


def score(args: argparse.Namespace) -> int:
    """Evaluate a checkpoint and print its scores."""
    segmenter = Segmenter.load(args.checkpoint, args.engine, args.device)
    dataset = open_for(segmenter, args)
    start = time.perf_counter()
    matrix, confidences = evaluate(segmenter, dataset, args.stride, args.limit)
    seconds = time.perf_counter() - start
    report = describe(matrix, dataset, segmenter, args.stride, len(confidences), seconds)
    if args.json:
        whole = {"checkpoint": segmenter.source, **report, "others": args.others}
        print(json.dumps(whole, ensure_ascii=False, allow_nan=False))
        return 0
    print(matrix.table())
    print(
        "{dataset} {split}, {images} photos in {seconds} s, stride {stride}, {engine}\n"
        "{protocol}".format(**report)
    )
    if "official" in report:
        official = report["official"]
        print(
            f"{official['protocol']}: mIoU {100 * official['mean_iou']:.1f}, pixel accuracy "
            f"{100 * official['pixel_accuracy']:.1f}, score {100 * official['score']:.1f}"
        )
    return 0


def check(args: argparse.Namespace) -> int:
    """Check a data set and print the report; returns 1 if it has errors."""
    report = check_dataset(args.dataset, args.data, args.split, args.classes, args.others)
    print(report)
    return int(not report.ok)


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


def count(text: str) -> int:
    """Parse a whole number from 0 up."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags about how a network is run."""
    parser.add_argument(
        "--stride",
        type=int,
        choices=STRIDES,
        help="finest map that is fused in, 32 is coarsest (default: the checkpoint's own)",
    )
    engines = ("auto", *ENGINES)
    parser.add_argument("--engine", choices=engines, default="auto", help="default: auto")
    parser.add_argument("--device", help="as torch names it: cpu, cuda, mps (default: the best)")


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose a data set."""
    parser.add_argument("--dataset", required=True, choices=DATASETS, help="which data set")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder that holds CamVid/, VOCdevkit/ or ADEChallengeData2016/ (default: data)",
    )
    parser.add_argument(
        "--classes", nargs="+", default=[], metavar="NAME", help="keep only these classes"
    )
    parser.add_argument(
        "--others",
        choices=OTHERS,
        default=OTHERS[0],
        help=f"what classes that are not kept become (default: {OTHERS[0]})",
    )


def add_segment(parser: argparse.ArgumentParser) -> None:
    """Define ``segment``."""
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="photo or folder")
    parser.add_argument(
        "--checkpoint",
        default=find_bundled(),
        metavar="C",
        help="checkpoint folder or run (default: the bundled checkpoints/street)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--opacity", type=fraction, default=0.6, help="of the overlay, 0 to 1 (default: 0.6)"
    )
    add_engine_flags(parser)
    parser.set_defaults(run=segment)


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Define ``evaluate``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint folder or run")
    add_data_flags(parser)
    parser.add_argument("--split", help="any that is there (default: the data set's val)")
    parser.add_argument(
        "--limit", type=count, default=0, metavar="N", help="only the first N photos (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_engine_flags(parser)
    parser.set_defaults(run=score)


def add_check(parser: argparse.ArgumentParser) -> None:
    """Define ``check``."""
    add_data_flags(parser)
    parser.add_argument(
        "--split", nargs="+", default=[], help="which splits (default: all that are there)"
    )
    parser.set_defaults(run=check)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m fcn",
        description="Semantic segmentation with fully convolutional networks.",
        epilog=OVERVIEW,
        formatter_class=layout,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, define, help, text, examples in (
        ("segment", add_segment, "photos into named, coloured segments", SEGMENT, SEGMENT_EXAMPLES),
        ("evaluate", add_evaluate, "score a checkpoint", EVALUATE, EVALUATE_EXAMPLES),
        ("check", add_check, "look for mistakes in a data set", CHECK, CHECK_EXAMPLES),
    ):
        define(
            commands.add_parser(
                name, help=help, description=text, epilog=examples, formatter_class=layout
            )
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = build_parser().parse_args(arguments)
    # Pillow warns about what open_photo either copes with or refuses in a sentence.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        return args.run(args)
    except InputError as error:
        print(f"fcn: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"fcn: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("fcn: stopped", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
