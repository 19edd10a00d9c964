"""The table of data sets, and the pairs of one split.

One convention, whatever a data set stores on disk: labels are uint8 class ids in
``[0, num_classes)``, or 255 for the pixels that training and scoring ignore. A new data set is
one more entry in ``DATASETS``.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..metrics import IGNORE_INDEX
from ..palette import CAMVID, MAX_CLASSES, SCENE_PARSING, VOC, Color, distinct
from ..served import check_name
from .pairs import Files, folders_with, read_mask, two_folders, voc_files, voc_splits
from .shapes import SHAPES, draw_scene
from .source import INVALID, Source, nearest


def _folder_palette(root: Path) -> dict[str, Color]:
    path = root / "classes.txt"
    if not path.is_file():
        raise InputError(f"{path} is missing; write the class names into it, one a line")
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").strip().splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice or not all(names) or not 0 < len(names) <= MAX_CLASSES:
        found = f"{twice!r} is there twice" if twice else f"it has {len(names)} lines"
        found = f"line {names.index('') + 1} is empty" if "" in names else found
        raise InputError(
            f"{path} must name each class once, one a line, no line empty, "
            f"at most {MAX_CLASSES} of them; {found}"
        )
    for line, name in enumerate(names, 1):
        try:
            check_name(name)
        except ValueError as error:  # or what was trained could not be served
            raise InputError(f"{path} cannot be used: line {line} is {name!r}; {error}") from error
    return dict(zip(names, distinct(len(names)), strict=True))


SHAPES_COUNT = {"train": 200, "val": 50}


def _shapes_files(_root: Path, split: str) -> Files:
    """Name the scenes: a drawn pair has no file, and its name is the seed it is drawn from."""
    names = {f"{i:05d}": Path(split, f"{i:05d}") for i in range(SHAPES_COUNT[split])}
    return names, names


def _read_shapes(photo: Path, _mask: Path) -> tuple[Image.Image, np.ndarray]:
    return draw_scene(zlib.crc32(photo.as_posix().encode()))


FULL_ADE20K = (
    "the full ADE20K release, with thousands of classes in coloured masks; Scene Parsing is "
    "another archive, ADEChallengeData2016.zip"
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
            ("index_ade20k.*", "*/index_ade20k.*", "ADE20K_20*", "images/**/*_seg.png"),
            f"belongs to {FULL_ADE20K}",
        ),
        colored=f"it may come from {FULL_ADE20K}",
        whole={"training": 20210, "validation": 2000},
    ),
    "voc": Source(
        folder="VOCdevkit/VOC2012",
        layout="ImageSets/Segmentation/SPLIT.txt, JPEGImages/*.jpg, SegmentationClass/*.png (or"
        " SegmentationClassAug/*.png)",
        size=500,
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
        splits=lambda root: list(SHAPES_COUNT),
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
        size: long side in pixels that photos are scaled to for training, unless a run says another.
        pairs: photo and mask of each item.
        whole: how many pairs the split should have; more than it has if some are missing.
        table: (256,) uint8, the label that each stored mask value stands for.
    """

    def __init__(
        self,
        name: str,
        split: str,
        palette: dict[str, Color],
        pairs: Sequence[tuple[Path, Path]],
        table: np.ndarray,
        whole: int = 0,
    ) -> None:
        self.name = name
        self.split = split
        self.classes = tuple(palette)
        self.palette = tuple(palette.values())
        self.size = DATASETS[name].size
        self.pairs = pairs
        self.whole = max(whole, len(pairs))
        self.table = table

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def is_drawn(self) -> bool:
        """Whether there are no files behind ``pairs``."""
        return DATASETS[self.name].is_drawn

    def shortfall(self) -> str:
        """Say how many pairs there are of how many, or nothing if none is missing."""
        if len(self) == self.whole:
            return ""
        return f"found {len(self)} of the {self.whole} pairs of {self.name} {self.split}"

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
        return image, self._label(mask, values)

    def read_labels(self, index: int) -> np.ndarray:
        """Read the labels of one pair, as ``read`` gives them, and leave a photo file alone."""
        source, (photo, mask) = DATASETS[self.name], self.pairs[index]
        values = source.read(photo, mask)[1] if self.is_drawn else read_mask(mask)
        return self._label(mask, values)

    def _label(self, mask: Path, values: np.ndarray) -> np.ndarray:
        labels = self.table[values]
        if (labels == INVALID).any():
            value = values[labels == INVALID][0]
            raise InputError(
                f"{mask} has the value {value}, which is no class; "
                "`python -m fcn check` lists all such masks"
            )
        return labels


def spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` of ``count`` indices, evenly spread, first and last among them.

    >>> spread(10, 4), spread(3, 4)
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(int).tolist()


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
    on_disk = source.split(root, split)
    photos, masks = files = source.files(root, on_disk)
    pairs = [(photo, masks[stem]) for stem, photo in photos.items() if stem in masks]
    if not pairs:
        usual = f"has no photo with a mask; put them into {source.layout}"
        fault = source.half(on_disk, files) or usual
        raise InputError(f"the split {split!r} in {root} {fault}")
    palette, table = source.labels(root, classes, others)
    whole = source.whole.get(on_disk, len(photos.keys() | masks.keys()))
    return SegmentationDataset(name, split, palette, pairs, table, whole)


def open_recipe(
    recipe: Mapping[str, Any], data: Path | str
) -> tuple[SegmentationDataset, SegmentationDataset]:
    """Open the two splits of a training recipe: the one to train on and the one to choose on.

    Args:
        recipe: ``TrainConfig``'s fields by name, of which only ``dataset`` has to be there.
        data: as for ``open_dataset``.

    Raises:
        InputError: as for ``open_dataset``.
    """
    name = recipe["dataset"]
    source = find_source(name)
    splits = recipe.get("split") or source.train, recipe.get("val_split") or source.val
    kept = recipe.get("classes", ()), recipe.get("others", "background")
    train_set, val_set = (open_dataset(name, data, split, *kept) for split in splits)
    return train_set, val_set
