"""What a data set is: where its files lie, and what its stored mask values mean.

One convention: a table of 256 entries takes stored values to class ids, 255 where a pixel is
ignored and ``INVALID`` where a value means nothing.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..metrics import IGNORE_INDEX
from ..palette import BACKGROUND, Color
from .pairs import Files, read_pair

INVALID = 254  # what the tables give for a stored value that means no class
OTHERS = (BACKGROUND, "ignore")


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name was probably meant, or all of them if none is near."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"did you mean {lower[near[0]]!r}?" if near else f"choose from {', '.join(known)}"


def keep_classes(
    palette: dict[str, Color], classes: Sequence[str], others: str = "background"
) -> tuple[dict[str, Color], np.ndarray]:
    """Choose some of a data set's classes and renumber them in the order given.

    ``background`` is added in front when it is not among ``classes`` but needed: because the data
    set has it, or to take in the other classes. With ``others="ignore"`` the other classes become
    255 instead, and a data set's own background stays what it is.

    Returns:
        The kept classes with their colours, and a (256,) uint8 table from old to new ids.
    """
    if others not in OTHERS:
        raise InputError(f"others must be one of {', '.join(OTHERS)}, not {others!r}")
    names, known = list(classes), set(palette)
    if others == "background":
        known.add(BACKGROUND)
    for name in names:
        if name not in known:
            raise InputError(f"there is no class {name!r}; {nearest(name, list(palette))}")
        if names.count(name) > 1:
            raise InputError(f"the class {name!r} is given {names.count(name)} times")
    if BACKGROUND not in names and (BACKGROUND in palette or others == "background"):
        names.insert(0, BACKGROUND)
    table = np.arange(256, dtype=np.uint8)
    rest = IGNORE_INDEX if others == "ignore" else names.index(BACKGROUND)
    table[: len(palette)] = [names.index(old) if old in names else rest for old in palette]
    return {name: palette.get(name, (0, 0, 0)) for name in names}, table


@dataclass(frozen=True)
class Source:
    """One data set: its layout on disk and the meaning of its stored mask values.

    Attributes:
        folder: what ``--data`` contains, such as ``CamVid``; empty if it is the root itself.
        layout: where a split's photos and masks lie in that folder, for messages.
        size: long side in pixels that photos are scaled to for training and serving.
        train: name of the split to train on.
        val: name of the split to choose and score on.
        palette: class names with colours, in label order, of the data set at a root.
        splits: names of the splits that are there under a root.
        files: the photos and masks of a split.
        first: stored mask value of the first class; the others follow it.
        ignored: stored mask values that become 255.
        aliases: other names of splits.
        strays: patterns of files that belong to another data set taken for this one, and what
            to say of them.
        colored: what to say of masks with colours that are not the palette's.
        whole: number of pairs in the splits as they were published, if that is fixed.
        read: reads a pair as RGB photo and stored mask values.
    """

    folder: str
    layout: str
    size: int
    palette: Callable[[Path], dict[str, Color]]
    splits: Callable[[Path], list[str]]
    files: Callable[[Path, str], Files]
    train: str = "train"
    val: str = "val"
    first: int = 0
    ignored: tuple[int, ...] = (IGNORE_INDEX,)
    aliases: dict[str, str] = field(default_factory=dict)
    strays: dict[str, str] = field(default_factory=dict)
    colored: str = ""
    whole: dict[str, int] = field(default_factory=dict)
    read: Callable[[Path, Path], tuple[Image.Image, np.ndarray]] = read_pair

    @property
    def is_drawn(self) -> bool:
        """Whether the pairs are drawn on the fly, so that there are no files."""
        return self.read is not read_pair

    def root(self, data: Path) -> Path:
        """Find the data set's own folder in ``data``, which may also be that folder itself."""
        if self.splits(data):
            return data
        parts = Path(self.folder).parts
        for skip in range(len(parts) + 1):
            inside = skip == 0 or data.resolve().parts[-skip:] == parts[:skip]
            if inside and (self.is_drawn or data.joinpath(*parts[skip:]).is_dir()):
                return data.joinpath(*parts[skip:])
        raise InputError(
            self.misplaced(data)
            or f"there is no folder {data / self.folder}; --data is the folder "
            + (f"that contains {self.folder}" if parts else f"with {self.layout}")
        )

    def misplaced(self, data: Path) -> str:
        """Say what a folder without the data set has in its place or near it, or nothing."""
        for near in (*data.glob("[!.]*"), *data.resolve().parents[:2]):
            if self.folder and (near / self.folder).is_dir():
                return f"{self.folder} is not in {data} but in {near}; did you mean --data {near}?"
        return self.stray(data)

    def stray(self, folder: Path) -> str:
        """Say which file in a folder is another data set's, or nothing if there is none."""
        for pattern, text in self.strays.items():
            if found := next(folder.glob(pattern), None):
                return f"{found} {text}"
        return ""

    def split(self, root: Path, name: str) -> str:
        """Give the split's name on disk, or raise InputError naming the splits that exist."""
        there = self.splits(root)
        found = name if name in there else self.aliases.get(name)
        if found in there:
            return found
        if self.aliases.get(name, name) in self.whole:
            advice = "the archive has one, so extract it again"
        else:
            advice = f"it has {', '.join(there)}" if there else f"a split is {self.layout}"
        raise InputError(self.stray(root) or f"there is no split {name!r} in {root}; {advice}")

    def half(self, split: str, files: Files) -> str:
        """Say that an archive was extracted by half, as files without partners show.

        A sample of whole pairs is not one of them, however small.

        Args:
            split: the split's name on disk.
            files: what is there of it.
        """
        photos, masks = files
        whole = self.whole.get(split, 0)
        if photos.keys() == masks.keys() or len(photos.keys() & masks.keys()) >= whole:
            return ""
        return (
            f"has {len(photos)} photos and {len(masks)} masks of {whole} each, as if the archive "
            "was extracted by half; delete the folder and extract it again"
        )

    def labels(
        self, root: Path, classes: Sequence[str] = (), others: str = "background"
    ) -> tuple[dict[str, Color], np.ndarray]:
        """Give the classes with their colours, and what each stored value means.

        Returns:
            A palette in label order, and a (256,) uint8 table from stored values to class ids,
            255 (ignored) or 254 (no class).
        """
        palette = self.palette(root)
        table = np.full(256, INVALID, np.uint8)
        table[self.first : self.first + len(palette)] = np.arange(len(palette))
        table[list(self.ignored)] = IGNORE_INDEX
        if not classes:
            return palette, table
        palette, kept = keep_classes(palette, classes, others)
        return palette, kept[table]
