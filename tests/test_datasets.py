"""Data sets: each layout, what stored values mean, classes kept, and mistakes told clearly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, write_mask, write_pair
from PIL import ExifTags, Image

from fcn.data.datasets import DATASETS, open_dataset, open_recipe
from fcn.data.shapes import SHAPES, draw_scene
from fcn.data.source import OTHERS, keep_classes
from fcn.errors import InputError
from fcn.palette import CAMVID, VOC
from fcn.photo import open_photo

# Stored values of the first and the last class, of what is ignored, and of what is no class.
STORED = {
    "scene_parsing": (1, 150, [0, 255], 151),
    "voc": (0, 20, [255], 21),
    "camvid": (0, 10, [11, 255], 12),
    "folder": (0, 2, [255], 3),
}
SEVEN = ["background", "cat", "cow", "dog", "horse", "person", "sheep"]


def test_every_data_set_on_disk_has_a_layout_here():
    assert {name for name, source in DATASETS.items() if not source.is_drawn} == set(LAYOUTS)
    assert set(STORED) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_stored_values_become_labels(name, tmp_path):
    first, last, ignored, _ = STORED[name]
    write_pair(
        name, tmp_path, "val", "a", [[first, last], [first + 1, ignored[0]], ignored[-1:] * 2]
    )
    dataset = open_dataset(name, tmp_path, "val")
    photo, labels = dataset.read(0)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, last - first], [1, 255], [255, 255]]
    assert (photo.mode, photo.size) == ("RGB", (2, 3))
    assert len(dataset.classes) == len(dataset.palette) == last - first + 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_value_that_is_no_class_is_refused(name, tmp_path):
    strange = STORED[name][3]
    _, mask = write_pair(name, tmp_path, "val", "a", [[STORED[name][0], strange]])
    with pytest.raises(InputError, match=rf"{mask.name} has the value {strange}"):
        open_dataset(name, tmp_path, "val").read(0)


@pytest.mark.parametrize("name", DATASETS)
def test_labels_are_read_without_their_photo(name, tmp_path):
    split, is_drawn = DATASETS[name].val, DATASETS[name].is_drawn
    if not is_drawn:
        photo, _ = write_pair(name, tmp_path, split, "a", [[1, 2]])
    dataset = open_dataset(name, tmp_path, split)
    _, labels = dataset.read(0)
    if not is_drawn:
        photo.write_bytes(b"no photo")
    assert np.array_equal(dataset.read_labels(0), labels)


@pytest.mark.parametrize("name", DATASETS)
def test_opening_decodes_nothing(name, tmp_path, monkeypatch):
    split = DATASETS[name].train
    if not DATASETS[name].is_drawn:
        write_pair(name, tmp_path, split, "a", [[1]])
    monkeypatch.setattr(Image, "open", None)
    dataset = open_dataset(name, tmp_path, split)
    assert len(dataset) > 0
    assert dataset.file(0).count("/") == 1
    assert len(dataset.palette) == len(dataset.classes) == len(set(dataset.classes))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if DATASETS[name].folder])
def test_data_may_be_the_data_sets_own_folder(name, tmp_path, monkeypatch):
    write_pair(name, tmp_path, "val", "a", [[1]])
    folder = tmp_path / DATASETS[name].folder
    while folder != tmp_path:
        assert len(open_dataset(name, folder, "val")) == 1
        monkeypatch.chdir(folder)
        assert len(open_dataset(name, ".", "val")) == 1
        folder = folder.parent


@pytest.mark.parametrize("name", LAYOUTS)
def test_any_split_that_is_there_opens_and_others_are_answered_with_those(name, tmp_path):
    write_pair(name, tmp_path, "night", "a", [[1]])
    write_pair(name, tmp_path, "fog", "b", [[1]])
    assert len(open_dataset(name, tmp_path, "night")) == 1
    with pytest.raises(InputError, match=r"no split 'nite' .* fog, night"):
        open_dataset(name, tmp_path, "nite")


def test_scene_parsing_has_the_usual_names_of_splits_too(tmp_path):
    write_pair("scene_parsing", tmp_path, "training", "a", [[1]])
    write_pair("scene_parsing", tmp_path, "validation", "b", [[1]])
    assert open_dataset("scene_parsing", tmp_path, "train").file(0) == "training/a.jpg"
    assert open_dataset("scene_parsing", tmp_path, "val").file(0) == "validation/b.jpg"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_sample_is_opened_and_says_how_many_pairs_it_has(name, tmp_path):
    for stem in "abc":
        write_pair(name, tmp_path, DATASETS[name].val, stem, [[1]])
    dataset = open_dataset(name, tmp_path, "val")
    assert len(dataset) == 3
    if name == "scene_parsing":
        assert dataset.shortfall() == "found 3 of the 2000 pairs of scene_parsing val"
    else:
        assert dataset.shortfall() == ""


@pytest.mark.parametrize("name", LAYOUTS)
def test_photos_without_masks_are_counted(name, tmp_path):
    for stem in "abc":
        _, mask = write_pair(name, tmp_path, "night", stem, [[1]])
    mask.unlink()
    dataset = open_dataset(name, tmp_path, "night")
    assert dataset.shortfall() == f"found 2 of the 3 pairs of {name} night"


def test_a_half_extracted_archive_without_a_pair_is_told_with_its_fix(tmp_path):
    write_pair("scene_parsing", tmp_path, "training", "a", [[1]])
    _, mask = write_pair("scene_parsing", tmp_path, "validation", "b", [[1]])
    mask.unlink()
    with pytest.raises(
        InputError, match="has 1 photos and 0 masks of 2000 each.* extract it again"
    ):
        open_dataset("scene_parsing", tmp_path, "val")
    mask.parent.rmdir()
    with pytest.raises(InputError, match="no split 'val' .* extract it again"):
        open_dataset("scene_parsing", tmp_path, "val")


def test_the_full_ade20k_in_place_of_scene_parsing_is_told_with_its_fix(tmp_path):
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    with pytest.raises(InputError, match="full ADE20K .*ADEChallengeData2016.zip"):
        open_dataset("scene_parsing", tmp_path, "val")
    scene = tmp_path / "ADEChallengeData2016/images/validation/abbey"
    scene.mkdir(parents=True)
    (scene / "x_seg.png").write_bytes(b"")
    with pytest.raises(InputError, match="x_seg.png .*full ADE20K"):
        open_dataset("scene_parsing", tmp_path, "val")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_sets_folder_may_be_renamed(name, tmp_path):
    write_pair(name, tmp_path / "data", "val", "a", [[1]])
    (tmp_path / "data" / DATASETS[name].folder).rename(tmp_path / "renamed")
    assert len(open_dataset(name, tmp_path / "renamed", "val")) == 1


@pytest.mark.parametrize("name", [name for name in LAYOUTS if DATASETS[name].folder])
def test_data_that_lie_near_are_pointed_at(name, tmp_path):
    write_pair(name, tmp_path / "here", "val", "a", [[1]])
    with pytest.raises(InputError, match=rf"did you mean --data {tmp_path / 'here'}\?"):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize("name", LAYOUTS)
def test_missing_data_says_what_data_means(name, tmp_path):
    with pytest.raises(InputError, match=r"--data is the folder|classes.txt is missing|split"):
        open_dataset(name, tmp_path / "nowhere", "val")


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'camvid'"):
        open_dataset("CamVids", "data", "val")


def test_pairs_are_told_by_stem_whatever_the_ending(tmp_path):
    for stem, ending in (("a", ".png"), ("b", ".JPG"), ("c", ".jpeg")):
        photo, _ = write_pair("camvid", tmp_path, "val", stem, [[1, 2]])
        Image.open(photo).save(photo.with_suffix(ending))
        if ending != ".png":
            photo.unlink()
    photo.with_name("._a.png").write_bytes(b"a Mac was here")
    photo.with_name("Thumbs.db").write_bytes(b"and a PC")
    dataset = open_dataset("camvid", tmp_path, "val")
    assert [dataset.file(i) for i in range(3)] == ["val/a.png", "val/b.JPG", "val/c.jpeg"]
    assert [dataset.read(i)[1].tolist() for i in range(len(dataset))] == [[[1, 2]]] * 3


@pytest.mark.parametrize("ending", [".avif", ".gif", ".webp"])
def test_what_is_served_can_be_trained_on(tmp_path, ending):
    photo, _ = write_pair("folder", tmp_path, "val", "a", [[1]])
    Image.open(photo).save(photo.with_suffix(ending))
    photo.unlink()
    dataset = open_dataset("folder", tmp_path, "val")
    assert (dataset.file(0), dataset.read(0)[0].size) == (f"images/a{ending}", (1, 1))


def test_two_photos_of_one_stem_are_refused(tmp_path):
    photo, _ = write_pair("camvid", tmp_path, "val", "a", [[1]])
    Image.open(photo).save(photo.with_suffix(".jpg"))
    with pytest.raises(InputError, match=r"a\.jpg and a\.png differ only in their endings"):
        open_dataset("camvid", tmp_path, "val")


def test_what_has_no_partner_is_left_out_and_nothing_left_is_a_mistake(tmp_path):
    for stem in "abc":
        photo, mask = write_pair("folder", tmp_path, "val", stem, [[1]])
    photo.unlink()
    mask.with_stem("a").unlink()
    assert [open_dataset("folder", tmp_path, "val").file(0)] == ["images/b.jpg"]
    mask.with_stem("b").unlink()
    with pytest.raises(InputError, match="no photo with a mask; put them into SPLIT/images"):
        open_dataset("folder", tmp_path, "val")


def test_a_palette_mask_is_read_by_its_numbers(tmp_path):
    _, mask = write_pair("voc", tmp_path, "val", "a", [[0, 15], [20, 255]])
    assert Image.open(mask).mode == "P"
    assert open_dataset("voc", tmp_path, "val").read(0)[1].tolist() == [[0, 15], [20, 255]]


def test_labels_of_sbd_are_found_beside_vocs_whose_own_count(tmp_path):
    for stem, value in (("a", 15), ("b", 12)):
        _, mask = write_pair("voc", tmp_path, "trainaug", stem, [[0, value]])
        (folder := mask.parent.with_name("SegmentationClassAug")).mkdir(exist_ok=True)
        write_mask(folder / mask.name, [[0, 8]])
    mask.unlink()
    dataset = open_dataset("voc", tmp_path, "trainaug")
    assert [dataset.read(index)[1].tolist() for index in range(2)] == [[[0, 15]], [[0, 8]]]


def test_a_list_of_a_split_may_have_paths(tmp_path):
    write_pair("voc", tmp_path, "val", "a.1", [[0, 15]])
    write_pair("voc", tmp_path, "val", "b", [[0, 12]])
    listing = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    listing.write_text("a.1\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n")
    dataset = open_dataset("voc", tmp_path, "val")
    assert [photo.stem for photo, _ in dataset.pairs] == ["a.1", "b"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_of_a_split_may_be_from_another_editor(encoding, tmp_path):
    write_pair("voc", tmp_path, "val", "ä", [[0, 15]])
    listing = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    listing.write_text("ä\n", encoding)
    if encoding == "utf-8-sig":
        assert len(open_dataset("voc", tmp_path, "val")) == 1
        return
    with pytest.raises(InputError, match=r"val.txt is not UTF-8 text .*; save it as UTF-8"):
        open_dataset("voc", tmp_path, "val")


def test_a_photo_is_read_as_it_is_served_but_for_exif(tmp_path):
    photo, _ = write_pair("folder", tmp_path, "train", "a", [[0, 1, 2]] * 2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    Image.fromarray(pixels).save(photo.with_suffix(".png"), exif=exif)
    photo.unlink()
    read, _ = open_dataset("folder", tmp_path, "train").read(0)
    served = open_photo(photo.with_suffix(".png"))
    assert np.array_equal(np.array(read), np.array(served)[::-1, ::-1])


def test_16_bit_masks_of_small_numbers_are_read(tmp_path):
    _, mask = write_pair("folder", tmp_path, "val", "a", [[0, 1]])
    Image.fromarray(np.array([[2, 255]], np.uint16)).save(mask)
    assert open_dataset("folder", tmp_path, "val").read(0)[1].tolist() == [[2, 255]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda photo, mask: Image.open(mask).convert("RGB").save(mask), r"a\.png has mode RGB"),
        (
            lambda photo, mask: write_mask(mask, [[1, 1, 1]]),
            r"a\.png is 3x1 but its photo is 30x20",
        ),
        (
            lambda photo, mask: photo.write_bytes(photo.read_bytes()[:-200]),
            r"a\.jpg cannot be read",
        ),
        (lambda photo, mask: mask.write_bytes(mask.read_bytes()[:-60]), r"a\.png cannot be read"),
        (lambda photo, mask: photo.write_bytes(b""), r"a\.jpg cannot be read"),
    ],
    ids=["colours", "size", "truncated photo", "truncated mask", "empty photo"],
)
def test_a_spoilt_pair_is_named_when_it_is_read(spoil, message, tmp_path):
    values = np.random.default_rng(0).integers(0, 3, (20, 30)).tolist()
    pair = write_pair("folder", tmp_path, "val", "a", values)
    spoil(*pair)
    with pytest.raises(InputError, match=message):
        open_dataset("folder", tmp_path, "val").read(0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it has 0 lines"),
        ("\n", "it has 0 lines"),
        ("cat\n\ndog\n", "line 2 is empty"),
        ("cat\ndog\ncat\n", "'cat' is there twice"),
        ("\n".join(map(str, range(255))), "at most 254 of them; it has 255 lines"),
    ],
)
def test_bad_class_lists_are_refused(text, told, tmp_path):
    write_pair("folder", tmp_path, "val", "a", [[1]])
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=f"must name each class once, one a line.*{told}"):
        open_dataset("folder", tmp_path, "val")


def test_a_class_that_could_not_be_served_is_not_trained_on(tmp_path):
    write_pair("folder", tmp_path, "val", "a", [[1]])
    (tmp_path / "classes.txt").write_text("cat\ntraffic\tlight\n")
    with pytest.raises(InputError, match=r"line 2 is 'traffic\\tlight'; .* not to be seen"):
        open_dataset("folder", tmp_path, "val")


def test_class_lists_from_windows_are_read(tmp_path):
    write_pair("folder", tmp_path, "val", "a", [[1]])
    (tmp_path / "classes.txt").write_bytes("\ufeffGrün \r\nsea, salt\r\n".encode())
    assert open_dataset("folder", tmp_path, "val").classes == ("Grün", "sea, salt")


def test_class_lists_of_another_encoding_are_refused(tmp_path):
    write_pair("folder", tmp_path, "val", "a", [[1]])
    (tmp_path / "classes.txt").write_bytes("Grün\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8"):
        open_dataset("folder", tmp_path, "val")


@given(st.lists(st.sampled_from(list(VOC)), min_size=1, unique=True), st.sampled_from(OTHERS))
def test_kept_classes_keep_their_names(classes, others):
    palette, table = keep_classes(VOC, classes, others)
    names = list(palette)
    assert [name for name in names if name in classes] == classes
    assert set(names) == {*classes, "background"}
    for old, name in enumerate(VOC):
        if name in palette:
            assert names[table[old]] == name
            assert palette[name] == VOC[name]
        elif others == "ignore":
            assert table[old] == 255
        else:
            assert names[table[old]] == "background"
    assert table[[254, 255]].tolist() == [254, 255]


def test_background_is_added_in_front_or_stays_where_it_is_given():
    assert list(keep_classes(VOC, ["dog", "cat"])[0]) == ["background", "dog", "cat"]
    assert list(keep_classes(VOC, ["dog", "background"])[0]) == ["dog", "background"]


def test_a_data_set_without_background_gets_one_for_the_others_only():
    palette, table = keep_classes(CAMVID, ["Car", "Sky"])
    assert list(palette) == ["background", "Car", "Sky"]
    assert table[:3].tolist() == [2, 0, 0]
    palette, table = keep_classes(CAMVID, ["Car", "Sky"], "ignore")
    assert list(palette) == ["Car", "Sky"]
    assert table[:3].tolist() == [1, 255, 255]


@pytest.mark.parametrize(
    ("classes", "others", "message"),
    [
        (["cta"], "background", "no class 'cta'; did you mean 'cat'"),
        (["Dog"], "background", "no class 'Dog'; did you mean 'dog'"),
        (["xylophone"], "background", "choose from background, aeroplane"),
        (["cat", "dog", "cat"], "background", "'cat' is given 2 times"),
        (["cat"], "keep", "background, ignore, not 'keep'"),
    ],
)
def test_mistaken_classes_are_answered(classes, others, message):
    with pytest.raises(InputError, match=message):
        keep_classes(VOC, classes, others)


def test_shapes_are_a_function_of_split_and_index():
    train, val = (open_dataset("shapes", "", split) for split in ("train", "val"))
    again = open_dataset("shapes", "anywhere", "train")
    assert (len(train), len(val)) == (200, 10)  # 50, but for tests
    for index in (0, 199):
        for one, other in zip(train.read(index), again.read(index), strict=True):
            assert np.array_equal(one, other)
    assert not np.array_equal(train.read(0)[0], val.read(0)[0])
    assert not np.array_equal(train.read(0)[0], train.read(1)[0])


@pytest.mark.parametrize("split", ["train", "val"])
def test_shapes_show_every_class_and_nothing_else(split):
    dataset = open_dataset("shapes", "", split)
    seen = [dataset.read(index)[1] for index in range(min(40, len(dataset)))]
    counts = np.bincount(np.ravel(seen))
    assert len(counts) == len(SHAPES)
    assert (counts > 0.03 * counts.sum()).all()


def test_a_recipe_opens_what_was_trained_and_chosen_on():
    train, val = open_recipe({"dataset": "shapes", "split": ""}, "")
    assert (train.split, val.split) == ("train", "val")
    other = {"split": "val", "val_split": "train", "classes": ["circle"], "others": "ignore"}
    train, val = open_recipe({"dataset": "shapes", **other}, "")
    assert (train.split, val.split) == ("val", "train")
    known = open_dataset("shapes", "", "val", ["circle"], "ignore")
    assert train.classes == val.classes == known.classes
    assert np.array_equal(train.read(0)[1], known.read(0)[1])


@pytest.mark.parametrize("size", [1, 31, 384])
def test_a_scene_is_the_same_at_any_size(size):
    photo, labels = draw_scene(3, size)
    _, small = draw_scene(3, 96)
    assert photo.size == labels.shape[::-1] == (size, max(1, size * 3 // 4))
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) / labels.shape[0] * 72).astype(int), limit)
        for n, limit in zip(labels.shape, (71, 95), strict=True)
    )
    assert (labels == small[np.ix_(rows, columns)]).mean() > 0.9


def test_real_camvid(real_data: Path):
    train, val = (open_dataset("camvid", real_data, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    photo, labels = val.read(0)
    assert photo.size == labels.shape[::-1] == (480, 360)
    road, sky = train.classes.index("Road"), train.classes.index("Sky")
    assert (labels[-60:] == road).mean() > 0.5 > (labels[:60] == road).mean()
    assert (labels[-60:] == sky).mean() == 0


def test_real_voc_by_classes(real_data: Path):
    dataset = open_dataset("voc", real_data, "valplus", SEVEN)
    everything = open_dataset("voc", real_data, "valplus")
    assert dataset.classes == tuple(SEVEN)
    assert len(dataset) == len(everything) == 364
    for index in range(0, 364, 40):
        labels, whole = dataset.read(index)[1], everything.read(index)[1]
        for new, name in enumerate(SEVEN[1:], 1):
            assert np.array_equal(labels == new, whole == everything.classes.index(name))
        assert np.array_equal(labels == 255, whole == 255)


def test_real_scene_parsing(real_data: Path):
    dataset = open_dataset("scene_parsing", real_data, "val")
    assert len(dataset) == 3
    for index, (_, mask) in enumerate(dataset.pairs):
        stored, labels = np.asarray(Image.open(mask)).astype(int), dataset.read(index)[1]
        assert (labels[stored == 0] == 255).all()
        assert np.array_equal(labels[stored > 0], stored[stored > 0] - 1)
    names = {dataset.classes[label] for label in np.unique(labels) if label != 255}
    assert {"wall", "building", "sky"} & names
