"""The table of data sets: where their files lie and what their stored mask values mean.

One convention, whatever a data set stores on disk: labels are uint8 class ids in
``[0, num_classes)``, or 255 for the pixels that training and scoring ignore. A new data set is
one more entry in ``DATASETS``.
"""

import difflib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .errors import InputError
from .metrics import IGNORE_INDEX
from .pairs import Files, folders_with, read_pair, two_folders, voc_files, voc_splits
from .palette import CAMVID, SCENE_PARSING, VOC, Color, distinct
from .shapes import SHAPES, draw_scene

INVALID = 254  # what the tables below give for a stored value that means no class
MAX_CLASSES = 254
BACKGROUND = "background"
OTHERS = ("background", "ignore")


def _folder_palette(root: Path) -> dict[str, Color]:
    path = root / "classes.txt"
    if not path.is_file():
        raise InputError(f"{path} is missing; write the class names into it, one a line")
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").strip().splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    if not all(names) or len(set(names)) < len(names) or not 0 < len(names) <= MAX_CLASSES:
        raise InputError(
            f"{path} must name each class once, one a line, no line empty, "
            f"at most {MAX_CLASSES} of them"
        )
    return dict(zip(names, distinct(len(names)), strict=True))


_SHAPES_COUNT = {"train": 200, "val": 50}


def _shapes_files(_root: Path, split: str) -> Files:
    """Name the scenes: a drawn pair has no file, and its name is the seed it is drawn from."""
    names = {f"{i:05d}": Path(split, f"{i:05d}") for i in range(_SHAPES_COUNT[split])}
    return names, names


def _read_shapes(photo: Path, _mask: Path) -> tuple[Image.Image, np.ndarray]:
    return draw_scene(zlib.crc32(photo.as_posix().encode()))


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
    read: Callable[[Path, Path], tuple[Image.Image, np.ndarray]] = read_pair

    @property
    def is_drawn(self) -> bool:
        """Whether the pairs are drawn on the fly, so that there are no files."""
        return self.read is not read_pair

    def root(self, data: Path) -> Path:
        """Find the data set's own folder in ``data``, which may also be that folder itself."""
        parts = Path(self.folder).parts
        for skip in range(len(parts) + 1):
            inside = skip == 0 or data.resolve().parts[-skip:] == parts[:skip]
            if inside and (self.is_drawn or data.joinpath(*parts[skip:]).is_dir()):
                return data.joinpath(*parts[skip:])
        raise InputError(
            f"there is no folder {data / self.folder}; --data is the folder "
            + (f"that contains {self.folder}" if parts else f"with {self.layout}")
        )

    def split(self, root: Path, name: str) -> str:
        """Give the split's name on disk, or raise InputError naming the splits that exist."""
        there = self.splits(root)
        found = name if name in there else self.aliases.get(name)
        if found not in there:
            raise InputError(
                f"there is no split {name!r} in {root}; "
                + (f"it has {', '.join(there)}" if there else f"a split is {self.layout}")
            )
        return found

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


FULL_ADE20K = (
    "belongs to the full ADE20K release, with thousands of classes in coloured masks; Scene "
    "Parsing is another archive, ADEChallengeData2016.zip"
)

DATASETS: dict[str, Source] = {
    "scene_parsing": Source(
        folder="ADEChallengeData2016",
        layout="images/SPLIT/*.jpg and annotations/SPLIT/*.png",
        size=512,
        palette=lambda root: SCENE_PARSING,
        splits=folders_with("images/*", "annotations/{}"),
        files=two_folders("images/{}", "annotations/{}"),
        train="training",
        val="validation",
        first=1,
        ignored=(0, IGNORE_INDEX),
        aliases={"train": "training", "val": "validation"},
        strays=dict.fromkeys(
            ("index_ade20k.*", "*/index_ade20k.*", "ADE20K_20*", "images/**/*_seg.png"), FULL_ADE20K
        ),
    ),
    "voc": Source(
        folder="VOCdevkit/VOC2012",
        layout="ImageSets/Segmentation/SPLIT.txt, JPEGImages/*.jpg, SegmentationClass/*.png",
        size=384,
        palette=lambda root: VOC,
        splits=voc_splits,
        files=voc_files,
    ),
    "camvid": Source(
        folder="CamVid",
        layout="SPLIT/*.jpg and SPLITannot/*.png",
        size=480,
        palette=lambda root: CAMVID,
        splits=folders_with("*", "{}annot"),
        files=two_folders("{}", "{}annot"),
        ignored=(11, IGNORE_INDEX),
    ),
    "folder": Source(
        folder="",
        layout="SPLIT/images/*.jpg, SPLIT/masks/*.png and classes.txt",
        size=512,
        palette=_folder_palette,
        splits=folders_with("*", "{}/masks"),
        files=two_folders("{}/images", "{}/masks"),
    ),
    "shapes": Source(
        folder="",
        layout="no files",
        size=96,
        palette=lambda root: SHAPES,
        splits=lambda root: list(_SHAPES_COUNT),
        files=_shapes_files,
        read=_read_shapes,
    ),
}


class SegmentationDataset:
    """Pairs of a photo and its labels, read when asked for.

    Attributes:
        name: key in ``DATASETS``.
        split: the split as it was asked for.
        classes: class names in label order.
        palette: one RGB colour per class.
        size: long side in pixels that photos are scaled to for training and serving.
        pairs: photo and mask of each item.
        table: (256,) uint8, the label that each stored mask value stands for.
    """

    def __init__(
        self,
        name: str,
        split: str,
        palette: dict[str, Color],
        pairs: Sequence[tuple[Path, Path]],
        table: np.ndarray,
    ) -> None:
        self.name = name
        self.split = split
        self.classes = tuple(palette)
        self.palette = tuple(palette.values())
        self.size = DATASETS[name].size
        self.pairs = pairs
        self.table = table

    def __len__(self) -> int:
        return len(self.pairs)

    def file(self, index: int) -> str:
        """Give the photo's folder and name, for messages."""
        return "/".join(self.pairs[index][0].parts[-2:])

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Read one pair.

        Returns:
            The photo, RGB, and its labels, (H, W) uint8 in [0, num_classes) or 255.

        Raises:
            InputError: for a damaged file, unequal sizes, or a mask value that is no class.
        """
        photo, mask = self.pairs[index]
        image, values = DATASETS[self.name].read(photo, mask)
        labels = self.table[values]
        if (labels == INVALID).any():
            value = values[labels == INVALID][0]
            raise InputError(
                f"{mask} has the value {value}, which is no class; "
                "`python -m fcn check` lists all such masks"
            )
        return image, labels


def find_source(name: str) -> Source:
    """Look a data set up in the table."""
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}; {nearest(name, list(DATASETS))}")
    return DATASETS[name]


def open_dataset(
    name: str,
    data: Path | str,
    split: str,
    classes: Sequence[str] = (),
    others: str = "background",
) -> SegmentationDataset:
    """Open a split of a data set; lists its files and reads none of them.

    Args:
        name: key in ``DATASETS``.
        data: the folder that contains the data set's own folder; ``shapes`` needs none.
        split: any split that is there.
        classes: keep only these classes, see ``keep_classes``; all when empty.
        others: what the classes left out become, ``background`` or ``ignore``.

    Raises:
        InputError: for a name, split or class that does not exist, and for an empty split.
    """
    source = find_source(name)
    root = source.root(Path(data))
    photos, masks = source.files(root, source.split(root, split))
    pairs = [(photo, masks[stem]) for stem, photo in photos.items() if stem in masks]
    if not pairs:
        raise InputError(f"the split {split!r} in {root} has no photo with a mask")
    palette, table = source.labels(root, classes, others)
    return SegmentationDataset(name, split, palette, pairs, table)
