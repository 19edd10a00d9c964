"""``python -m fcn segment``: photos into named, coloured segments."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from ..checkpoint import check_writable, from_here
from ..errors import InputError, describe
from ..photo import PhotoError, open_photo, photos_in
from ..segmentation import choose_stems, is_result
from ..segmenter import Segmenter
from .flags import add_engine_flags, fraction

HELP = "turn photos into named, coloured segments"
TEXT = """\
Name and colour what photos show. For photo.jpg, three files are written into the output folder:

  photo.png           an indexed PNG: each pixel's value is its class, its colour the palette's
  photo_overlay.png   the photo with the classes painted over it
  photo.json          each class with its colour, pixels, share of the picture and confidence

All have the photo's size. Photos with the same name are numbered (photo-2.png); the results of an
earlier call are replaced. A file that is not a photo is reported and the others are processed; the
exit status is 1 if any failed.
"""
EXAMPLES = """\
examples:
  python -m fcn segment holiday/ garden.png --output out --opacity 0.8
  python -m fcn segment crossing.jpg --checkpoint checkpoints/street --output out
"""


def find_bundled() -> Path:
    """Where ``checkpoints/animals`` lies beside the package, as seen from the current folder."""
    return from_here(Path(__file__).resolve().parents[2] / "checkpoints" / "animals")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define ``segment``."""
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="photo or folder")
    parser.add_argument(
        "--checkpoint",
        default=find_bundled(),
        metavar="C",
        help="checkpoint folder, run or Hub id (default: the bundled checkpoints/animals)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--opacity", type=fraction, default=0.6, help="overlay opacity, 0 to 1 (default: 0.6)"
    )
    add_engine_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Segment photos into files; returns 1 if any failed."""
    check_writable(args.output)
    args.output.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter.load(args.checkpoint, args.engine, args.device)
    photos: list[Path] = []
    failed = 0
    for path in args.photos:
        try:
            found = photos_in([path])
            if path.is_dir():  # which results may have been written into
                found = [one for one in found if not is_result(one)]
            if not found:
                raise PhotoError(f"{path} holds no photos but the results of an earlier call.")
            photos += found
        except PhotoError as error:
            failed += 1
            print(error, file=sys.stderr)
        except OSError as error:  # a folder that may not be read
            failed += 1
            print(describe(error), file=sys.stderr)
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
        except OSError as error:
            failed += 1
            told = describe(error)  # which names no file where the disk is full
            tqdm.write(told if error.filename else f"{path}: {told}", file=sys.stderr)
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
