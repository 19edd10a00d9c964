"""The check of a data set before it is trained on.

One convention: the thorough check decodes every file. The quick one, made before each run, looks
at the pairing, at the headers of at most 1000 pairs of a split and at the pixels of 32 of them.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..cores import count_cores
from ..errors import InputError
from ..metrics import IGNORE_INDEX
from ..palette import BACKGROUND
from ..photo import BOMBS, BROKEN
from .datasets import find_source, spread
from .inspector import SHOWN, Inspector, Problem
from .source import INVALID, Source

HEADERS, PIXELS = 1000, 32  # pairs of a split that the quick check looks at
LARGE = 4  # times as large as they are used, photos are slow


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass
class Report:
    """What a check found.

    Attributes:
        title: name and folder of the data set.
        pairs: number of pairs by split.
        problems: all of them; the printed report shows the first ten of a kind.
        pixels: by split, labelled pixels by class name; only from a thorough check.
    """

    title: str
    pairs: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    pixels: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the data can be trained on: no errors."""
        return not any(problem.is_error for problem in self.problems)

    def warnings(self) -> list[str]:
        """A line for each of the first ten warnings of a kind, and one for the rest."""
        return list(self._lines(False))

    def _shares(self) -> Iterator[str]:
        if not self.pixels:
            return
        names = list(next(iter(self.pixels.values())))
        width = max(len(name) for name in ["class", *names])
        yield "class".ljust(width) + "".join(f"{split:>12}" for split in self.pixels)
        for name in names:
            shares = (
                counts[name] / max(1, sum(counts.values())) for counts in self.pixels.values()
            )
            yield name.ljust(width) + "".join(f"{share:>12.2%}" for share in shares)

    def _lines(self, is_error: bool) -> Iterator[str]:
        word = "error" if is_error else "warning"
        kinds: dict[str, list[Problem]] = {}
        for problem in self.problems:
            if problem.is_error == is_error:
                kinds.setdefault(problem.kind, []).append(problem)
        for kind, alike in kinds.items():
            yield from (f"{word}: {problem.file}: {problem.text}" for problem in alike[:SHOWN])
            if len(alike) > SHOWN:
                yield f"{word}: and {len(alike) - SHOWN} more {kind}"

    def __str__(self) -> str:
        pairs = [f"{_count(number, 'pair')} in {split}" for split, number in self.pairs.items()]
        errors = sum(problem.is_error for problem in self.problems)
        verdict = f"{_count(errors, 'error')}, {_count(len(self.problems) - errors, 'warning')}"
        last = f"{self.title}: {', '.join(pairs) or 'no pairs'}; {verdict}"
        return "\n".join([*self._shares(), *self._lines(False), *self._lines(True), last])


def _survey(
    inspector: Inspector, pairs: list[tuple[Path, Path]], thorough: bool, title: str
) -> tuple[list[Problem], np.ndarray]:
    """Inspect the pairs of a split, in threads; add up how often each stored value occurs."""
    every = range(len(pairs))
    chosen = every if thorough else spread(len(pairs), HEADERS)
    pixels = set(every if thorough else spread(len(pairs), PIXELS))
    problems: list[Problem] = []
    counts = np.zeros(256, np.int64)
    with ThreadPoolExecutor(min(8, count_cores())) as pool:
        found = pool.map(lambda i: inspector.inspect(pairs[i], i in pixels), chosen)
        # disable=None shows progress on a terminal only.
        for some, stored in tqdm(found, title, len(chosen), disable=None if thorough else True):
            problems += some
            counts += stored
    return problems, counts


def _absent(split: str, pixels: dict[str, int]) -> Iterator[Problem]:
    for name, count in pixels.items():
        if not count:
            text = f"the class {name!r} never occurs; add photos of it or drop the class"
            yield Problem("classes that never occur", split, text, is_error=False)


def _large(source: Source, split: str, pairs: Sequence[tuple[Path, Path]]) -> Iterator[Problem]:
    """Find photos so large that most of a sample's time goes into reading them."""
    sides = []
    for photo, _ in pairs:
        with suppress(*BROKEN, *BOMBS), Image.open(photo) as image:  # of these, others tell
            sides.append(max(image.size))
    if sides and (side := int(np.median(sides))) > LARGE * source.size:
        text = f"photos have {side} pixels on the long side, and training uses {source.size} unless"
        text += " --size says another: what is small in them is lost then; scaled down, with their"
        text += " masks, they are read much faster"
        yield Problem("large photos", split, text, is_error=False)


def _misnamed(names: Sequence[str]) -> Iterator[Problem]:
    if len(names) == 1:
        text = f"{names[0]!r} is the only one, which leaves nothing to tell apart; "
        hint = f"add another, such as {BACKGROUND}"
        hint = "give each a line of its own" if "," in names[0] else hint
        yield Problem("classes", "classes", text + hint)
    for name in names:
        if name != BACKGROUND and name.strip("_ ").casefold() in (BACKGROUND, "bg"):
            text = f"{name!r} is a class like any other, and is painted; named {BACKGROUND!r} it"
            text += " stays clear, and what is not found in a photo counts as it"
            yield Problem("names that are nearly background", "classes", text, is_error=False)


def _shared(splits: Sequence[str], pairs: dict[str, set[Path]], is_run: bool) -> Iterator[Problem]:
    """Find photos that are trained on and scored on, if both splits are used, as by a run."""
    if len(set(splits)) < len(splits):
        text = "is trained on and scored on; the scores say little"
        yield Problem("splits that overlap", splits[0], text, is_error=False)
    for one, other in combinations(pairs, 2):
        common = pairs[one] & pairs[other]
        if common and (is_run or one.startswith("train") != other.startswith("train")):
            text = f"shares {_count(len(common), 'photo')} with {other}, such as {min(common).name}"
            text += "; a score on them says little"
            yield Problem("splits that overlap", one, text, is_error=False)


def _missing(source: Source, present: Sequence[str]) -> Iterator[Problem]:
    """Say which of the two splits that training uses by itself is not there."""
    others = [one for one in present if one not in (source.train, source.val)]
    for split, use, flag in (
        (source.train, "train", "--split"),
        (source.val, "score", "--val-split"),
    ):
        if split in present:
            continue
        advice = f"move some pairs of {present[0]} into it"
        if others:
            advice = f"rename another ({', '.join(others)}), or train with {flag} and its name"
        yield Problem("splits", split, f"there is none to {use} on; {advice}")


def _check_split(
    report: Report, inspector: Inspector, split: str, names: Sequence[str], thorough: bool
) -> set[Path]:
    """Check one split into the report, and give its photos."""
    source, root = inspector.source, inspector.root
    try:
        on_disk = source.split(root, split)
        files = source.files(root, on_disk)
    except InputError as error:
        report.problems.append(Problem("splits", split, str(error)))
        return set()
    photos, masks = files
    pairs = [(photo, masks[stem]) for stem, photo in photos.items() if stem in masks]
    report.pairs[split] = len(pairs)
    if half := source.half(on_disk, files):
        report.problems.append(Problem("half-extracted splits", split, half))
        return set()
    report.problems += inspector.unpaired(files)
    report.problems += inspector.nested(files)
    if not pairs:
        text = f"has no photo with a mask; put them into {source.layout}"
        report.problems.append(Problem("empty splits", split, text))
        return set()
    problems, stored = _survey(inspector, pairs, thorough, split)
    report.problems += problems
    report.problems += _large(source, split, [pairs[i] for i in spread(len(pairs), PIXELS)])
    if set(np.flatnonzero(stored)) == {0, IGNORE_INDEX} and len(names) > 1:
        text = "the masks hold only 0 and 255, and 255 is ignored; store the class by its number"
        report.problems.append(Problem("masks of 0 and 255", split, text))
    labelled = stored[inspector.table < INVALID].any()
    seen = len(pairs) if thorough else min(len(pairs), PIXELS)
    # Nearly every photo has something that is "other", so many without one are no accident.
    shifted = inspector.source.first and not stored[0] and labelled and seen >= PIXELS
    if shifted and not any(one.is_error for one in problems):
        text = f"none of the {seen} masks looked at has a 0, which is what has no class here, so"
        text += " numbers are one too high; subtract 1 in all masks"
        report.problems.append(Problem("masks with numbers one too high", split, text))
    if stored.any() and not labelled and not any(one.is_error for one in problems):
        text = "no pixel of the masks looked at has a class, all are ignored; there is no label"
        report.problems.append(Problem("masks without labels", split, text))
    if thorough:
        counts = np.bincount(inspector.table, weights=stored, minlength=256).astype(int)
        report.pixels[split] = dict(zip(names, counts.tolist(), strict=False))
        report.problems += _absent(split, report.pixels[split]) if stored.any() else []
    return set(photos.values())


def check_dataset(
    name: str,
    data: Path | str,
    splits: Sequence[str] = (),
    classes: Sequence[str] = (),
    others: str = "background",
    thorough: bool = True,
) -> Report:
    """Look for what would spoil training or scoring.

    Args:
        name: key in ``DATASETS``.
        data: as for ``open_dataset``.
        splits: those to check; when empty, all that are there but for VOC's ``trainval``.
        classes: as for ``open_dataset``.
        others: as for ``open_dataset``.
        thorough: whether to decode every file, or only what takes a second or two, before a run
            that trains on one of ``splits`` and scores on the other.

    Returns:
        A report; print it. What cannot be found at all is one of its errors too.

    Raises:
        InputError: for the name of a data set that does not exist.
    """
    source, root = find_source(name), Path(data)
    report = Report(f"{name} in {data}")
    try:
        root = source.root(root)
        names, table = source.labels(root, classes, others)
        inspector = Inspector(source, root, source.palette(root), table)
        # VOC's trainval is its train and its val, which matters to nobody who does not train on it.
        present = [one for one in source.splits(root) if one != "trainval"]
        chosen = splits or present or [source.train]
    except InputError as error:
        report.problems.append(Problem("layout", name, str(error)))
        return report
    if stray := source.stray(root):
        report.problems.append(Problem("another data set", name, stray))
        return report
    photos = {
        split: _check_split(report, inspector, split, list(names), thorough) for split in chosen
    }
    report.problems += [
        *_misnamed(list(names)),
        *_shared(chosen, photos, bool(splits) and not thorough),
    ]
    if report.ok and not splits:
        report.problems += _missing(source, list(photos))
    return report
