"""The check of a data set: every problem is found, named by file, and told with its fix."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from layouts import LAYOUTS, pair_paths, write_mask, write_pair
from PIL import ExifTags, Image

from fcn.__main__ import main
from fcn.data import datasets
from fcn.data.check import check_dataset
from fcn.data.datasets import DATASETS
from fcn.data.shapes import draw_scene
from fcn.errors import InputError
from fcn.palette import VOC

GOOD = np.random.default_rng(0).integers(0, 3, (24, 32)).tolist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound data set of three classes."""
    for split in ("train", "val"):
        for stem in "abc":
            write_pair("folder", tmp_path, split, stem, GOOD)
    return tmp_path


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("name", DATASETS)
def test_a_sound_data_set_passes(name, thorough, tmp_path):
    source = DATASETS[name]
    values = [list(range(source.first, source.first + 150))] * 2
    if name != "scene_parsing":
        values = [[value % 3 for value in row] for row in values]
    if not source.is_drawn:
        for split in (source.train, source.val):
            write_pair(name, tmp_path, split, "a" + split, values)
    report = check_dataset(name, tmp_path, thorough=thorough)
    assert report.ok
    assert set(report.pairs) == {source.train, source.val}
    never = [problem for problem in report.problems if "never occurs" in problem.text]
    assert report.problems == never
    assert "0 errors" in str(report)


def spoil_colors(photo: Path, mask: Path) -> None:
    colors = [list(VOC.values())[12], (1, 2, 3)]
    Image.fromarray(np.array(colors, np.uint8)[np.array(GOOD) % 2]).save(mask)


def spoil_grey(photo: Path, mask: Path) -> None:
    Image.open(mask).convert("RGB").save(mask)


def spoil_size(photo: Path, mask: Path) -> None:
    write_mask(mask, GOOD[:-1])


def spoil_turn(photo: Path, mask: Path) -> None:
    write_mask(mask, np.transpose(GOOD).tolist())


def spoil_values(photo: Path, mask: Path) -> None:
    write_mask(mask, [[0, 1, 47, 3] * 8] * 24)


def spoil_large_values(photo: Path, mask: Path) -> None:
    Image.fromarray(np.full((24, 32), 1000, np.uint16)).save(mask)


def spoil_photo(photo: Path, mask: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:-100])


def spoil_mask(photo: Path, mask: Path) -> None:
    mask.write_bytes(mask.read_bytes()[:-60])


def spoil_depth(photo: Path, mask: Path) -> None:
    Image.fromarray(np.full((24, 32), 1000, np.uint16)).save(photo, "PNG")


def spoil_jpeg(photo: Path, mask: Path) -> None:
    Image.open(mask).save(mask.with_suffix(".jpg"))
    mask.unlink()


def spoil_photo_away(photo: Path, mask: Path) -> None:
    photo.unlink()


def spoil_mask_away(photo: Path, mask: Path) -> None:
    mask.unlink()


ERRORS: dict[Callable[[Path, Path], None], str] = {
    spoil_colors: "masks/b.png: is RGB where class numbers are expected; save a class number "
    "for each of its 2 colours: #400080, #010203",
    spoil_grey: "masks/b.png: is RGB where class numbers are expected; its channels are equal, "
    "so save it as greyscale",
    spoil_size: "masks/b.png: is 32x23 but its photo is 32x24; export both at one size",
    spoil_turn: "masks/b.png: is 24x32 but its photo is 32x24; one is turned, perhaps by EXIF",
    spoil_values: "masks/b.png: has 3, 47, but classes are 0 to 2; correct it",
    spoil_large_values: "masks/b.png: has 1000, but classes are 0 to 2; correct it",
    spoil_photo: "images/b.jpg: cannot be read (image file is truncated",
    spoil_mask: "masks/b.png: cannot be read (image file is truncated); replace it",
    spoil_jpeg: "masks/b.jpg: is a JPEG, which alters class numbers; export it again as PNG",
    spoil_photo_away: "masks/b.png: has no photo; add b.jpg or leave the mask out",
    spoil_mask_away: "images/b.jpg: has no mask; add b.png or leave the photo out",
}


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("spoil", ERRORS)
def test_an_error_is_one_line_with_file_and_fix(spoil, thorough, folder):
    spoil(folder / "val/images/b.jpg", folder / "val/masks/b.png")
    report = check_dataset("folder", folder, thorough=thorough)
    assert not report.ok
    lines = [line for line in str(report).splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    first_colors = lines[0].replace("#010203, #400080", "#400080, #010203")
    assert first_colors.startswith(f"error: val/{ERRORS[spoil]}")


@pytest.mark.parametrize("thorough", [True, False])
def test_a_photo_that_is_turned_when_served_is_a_warning(thorough, folder):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    photo = folder / "train/images/a.jpg"
    Image.open(photo).save(photo, exif=exif)
    (problem,) = check_dataset("folder", folder, thorough=thorough).problems
    assert (problem.file, problem.is_error) == ("train/images/a.jpg", False)
    assert "save it upright" in problem.text


@pytest.mark.parametrize("thorough", [True, False])
def test_a_photo_of_more_than_8_bits_is_a_warning(thorough, folder):
    spoil_depth(folder / "train/images/a.jpg", folder)
    (problem,) = check_dataset("folder", folder, thorough=thorough).problems
    assert (problem.file, problem.is_error) == ("train/images/a.jpg", False)
    assert "has mode I;16, of which 8 bits are used" in problem.text


def test_colours_of_the_data_set_are_named(tmp_path):
    write_pair("voc", tmp_path, "val", "a", [[0, 12]])
    _, mask = write_pair("voc", tmp_path, "val", "b", [[0, 12]])
    Image.open(mask).convert("RGB").save(mask)
    assert "#000000 background" in (text := str(check_dataset("voc", tmp_path)))
    assert "#400080 dog" in text


def test_many_colours_are_cut_short(folder):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(folder / "val/masks/b.png")
    (problem,) = check_dataset("folder", folder).problems
    assert problem.text.count("#") == 10
    assert problem.text.endswith(f"and {24 * 32 - 10} more")


def test_equal_problems_are_capped(tmp_path):
    for number in range(25):
        _, mask = write_pair("folder", tmp_path, "train", f"{number:02}", GOOD)
        mask.unlink()
    write_pair("folder", tmp_path, "train", "good", GOOD)
    report = check_dataset("folder", tmp_path)
    lines = str(report).splitlines()
    assert len(report.problems) == 25
    assert sum("has no mask" in line for line in lines) == 10
    assert "error: and 15 more photos without a mask" in lines
    assert lines[-1].endswith("1 pair in train; 25 errors, 0 warnings")


def test_the_quick_check_samples_what_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn.data.check.HEADERS", 7)
    monkeypatch.setattr("fcn.data.check.PIXELS", 3)
    for number in range(20):
        write_pair("folder", tmp_path, "train", f"{number:02}", [[0, 1, 2, 9]])
    assert len(check_dataset("folder", tmp_path, thorough=False).problems) == 3
    for number in range(20):
        write_mask(tmp_path / f"train/masks/{number:02}.png", [[0, 1, 2]])
    assert len(check_dataset("folder", tmp_path, thorough=False).problems) == 7
    assert len(check_dataset("folder", tmp_path, thorough=True).problems) == 20


def test_the_quick_check_decodes_no_more_than_its_sample(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn.data.check.PIXELS", 1)
    for split in ("train", "val"):
        for stem in "abc":
            write_pair("camvid", tmp_path, split, stem, GOOD)  # PNG keeps its EXIF at the end
    assert check_dataset("camvid", tmp_path, thorough=False).ok


def test_classes_that_never_occur_and_empty_labels_are_warnings(folder):
    for stem in "abc":
        write_mask(folder / f"val/masks/{stem}.png", [[0, 1] * 16] * 24)
    write_mask(folder / "val/masks/c.png", [[255] * 32] * 24)
    report = check_dataset("folder", folder)
    assert report.ok
    assert [line for line in str(report).splitlines() if line.startswith("warning")] == [
        "warning: val/masks/c.png: has only ignored pixels; label it or leave it out",
        "warning: val: the class 'dog' never occurs; add photos of it or drop the class",
    ]


def test_pixels_are_counted_by_class(tmp_path):
    write_pair("voc", tmp_path, "train", "a", [[0, 8, 8, 12], [255, 15, 3, 8]])
    report = check_dataset("voc", tmp_path, classes=["cat", "dog"])
    assert report.pixels == {"train": {"background": 3, "cat": 3, "dog": 1}}
    assert "cat             42.86%" in str(report)
    report = check_dataset("voc", tmp_path, classes=["cat", "dog"], others="ignore")
    assert report.pixels == {"train": {"background": 1, "cat": 3, "dog": 1}}
    assert check_dataset("voc", tmp_path, thorough=False).pixels == {}


@pytest.mark.parametrize("thorough", [True, False])
def test_masks_without_any_label_are_an_error(folder, thorough):
    for stem in "abc":
        write_mask(folder / f"val/masks/{stem}.png", [[255] * 32] * 24)
    report = check_dataset("folder", folder, thorough=thorough)
    assert not report.ok
    assert "error: val: no pixel of the masks looked at has a class" in str(report)


@pytest.mark.parametrize("thorough", [True, False])
def test_masks_of_0_and_255_are_an_error(folder, thorough):
    for stem in "abc":
        write_mask(folder / f"train/masks/{stem}.png", [[0, 255] * 16] * 24)
    report = check_dataset("folder", folder, thorough=thorough)
    assert not report.ok
    assert "error: train: the masks hold only 0 and 255, and 255 is ignored" in str(report)


def test_a_listed_photo_that_is_missing_is_an_error(tmp_path):
    photo, _ = write_pair("voc", tmp_path, "val", "a", [[0, 12]])
    write_pair("voc", tmp_path, "val", "b", [[0, 12]])
    photo.unlink()
    report = check_dataset("voc", tmp_path, thorough=False)
    assert "error: JPEGImages/a.jpg: is not there; add it or take it off the list" in str(report)


def test_an_empty_split_is_an_error(folder):
    for path in folder.glob("val/*/*"):
        path.unlink()
    report = check_dataset("folder", folder)
    assert not report.ok
    assert "error: val: has no photo with a mask; put them into SPLIT/images" in str(report)


def test_overlapping_splits_are_a_warning(tmp_path):
    for split in ("train", "trainplus", "trainval", "val"):
        write_pair("voc", tmp_path, split, "a", [[0, 12]])
    report = check_dataset("voc", tmp_path, thorough=False)
    assert report.ok
    assert [problem.file for problem in report.problems] == ["train", "trainplus"]
    assert "shares 1 photo with val, such as a.jpg" in report.problems[0].text
    (warning,) = check_dataset("voc", tmp_path, ["trainval", "val"], thorough=False).warnings()
    assert warning.startswith("warning: trainval: shares 1 photo with val")
    write_pair("voc", tmp_path, "sbd", "a", [[0, 12]])  # whatever a run's splits are called
    (warning,) = check_dataset("voc", tmp_path, ["sbd", "val"], thorough=False).warnings()
    assert warning.startswith("warning: sbd: shares 1 photo with val")
    assert "shares" not in str(check_dataset("voc", tmp_path, ["sbd", "val"]))
    (warning,) = check_dataset("voc", tmp_path, ["val", "val"], thorough=False).warnings()
    assert warning.startswith("warning: val: is trained on and scored on")


def test_a_split_that_is_named_twice_is_checked_once(capsys):
    assert main(["check", "--dataset", "shapes", "--split", "val", "val"]) == 0
    assert capsys.readouterr().out.endswith("10 pairs in val; 0 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("stray", "shown"),
    [
        ("ADE20K_2021_17_01/index_ade20k.pkl", "index_ade20k.pkl"),
        ("index_ade20k.mat", "index_ade20k.mat"),
        ("ADEChallengeData2016/images/training/a/abbey/x_seg.png", "x_seg.png"),
        ("ADE20K_2016_07_26/images/training/a/x_seg.png", "ADE20K_2016_07_26"),
    ],
)
def test_the_full_ade20k_is_recognised(stray, shown, tmp_path):
    path = tmp_path / stray
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    report = check_dataset("scene_parsing", tmp_path, thorough=False)
    assert not report.ok
    (line,) = [line for line in str(report).splitlines() if "full ADE20K" in line]
    assert shown in line
    assert "ADEChallengeData2016.zip" in line


def test_a_half_extracted_archive_is_one_line_with_its_fix(tmp_path):
    for number in range(30):
        _, mask = write_pair("scene_parsing", tmp_path, "training", f"{number}", [[1, 2]])
        if number > 20:
            mask.unlink()
    report = check_dataset("scene_parsing", tmp_path, thorough=False)
    assert not report.ok
    (line,) = [line for line in str(report).splitlines() if line.startswith("error: ")]
    assert line == (
        "error: training: has 30 photos and 21 masks of 20210 each, as if the archive was "
        "extracted by half; delete the folder and extract it again"
    )
    for photo in (tmp_path / "ADEChallengeData2016/images/training").iterdir():
        if int(photo.stem) > 20:
            photo.unlink()
    assert check_dataset("scene_parsing", tmp_path, ["training"], thorough=False).ok


@pytest.mark.parametrize("thorough", [True, False])
def test_coloured_masks_in_scene_parsing_are_the_full_ade20ks(tmp_path, thorough):
    _, mask = write_pair("scene_parsing", tmp_path, "training", "a", GOOD)
    Image.fromarray(np.array([(10, 4, 120), (0, 0, 0)], np.uint8)[np.array(GOOD) % 2]).save(mask)
    (problem,) = check_dataset("scene_parsing", tmp_path, thorough=thorough).problems
    assert problem.text.startswith("is RGB where class numbers are expected")
    assert "full ADE20K release" in problem.text and "ADEChallengeData2016.zip" in problem.text


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("folder", [1, 2, 3], "has 3, but classes are 0 to 2; if numbers are one too high in all"),
        ("folder", [0, 2, 3], "has 3, but classes are 0 to 2; it has 0 as well: is background, as"),
        ("camvid", [1, 11, 12], "has 12, but classes are 0 to 10; if numbers are one too high"),
        ("scene_parsing", [1, 151], "has 151, but classes are 1 to 150; if numbers are one too"),
        ("scene_parsing", [0, 5, 255], "has both 0 and 255, so its numbers are one too low; add 1"),
    ],
)
def test_labels_off_by_one_are_an_error_with_the_fix(name, values, text, thorough, tmp_path):
    write_pair(name, tmp_path, DATASETS[name].train, "a", [values])
    report = check_dataset(name, tmp_path, thorough=thorough)
    assert [problem.text[: len(text)] for problem in report.problems if problem.is_error] == [text]


@pytest.mark.parametrize("thorough", [True, False])
def test_photos_that_are_slow_to_read_are_told_once(thorough, tmp_path):
    for split in ("train", "val"):
        for stem in "abc":
            write_pair("folder", tmp_path, split, stem, [[0, 1, 2] * 700])
    write_pair("folder", tmp_path, "val", "a", GOOD)
    write_pair("folder", tmp_path, "val", "b", GOOD)
    (problem,) = check_dataset("folder", tmp_path, thorough=thorough).problems
    assert (problem.file, problem.is_error) == ("train", False)
    assert problem.text.startswith(
        "photos have 2100 pixels on the long side, and training uses 512"
    )


@pytest.mark.parametrize("thorough", [True, False])
def test_a_photo_of_too_many_pixels_is_told(thorough, folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # of which Pillow opens twice as many
    report = check_dataset("folder", folder, thorough=thorough)
    assert "exceeds limit" in str(report)


@pytest.mark.parametrize("thorough", [True, False])
def test_labels_one_too_high_are_an_error_where_the_last_class_is_rare(thorough, tmp_path):
    for stem in range(32):
        _, mask = write_pair("scene_parsing", tmp_path, "training", str(stem), [[1, 13, 4]])
    report = check_dataset("scene_parsing", tmp_path, ["training"], thorough=thorough)
    (problem,) = [one for one in report.problems if one.is_error]
    assert problem.text.startswith("none of the 32 masks looked at has a 0")
    assert "subtract 1" in problem.text
    write_mask(mask, [[1, 0, 4]])
    assert check_dataset("scene_parsing", tmp_path, ["training"], thorough=thorough).ok
    mask.unlink()
    pair_paths("scene_parsing", tmp_path, "training", "31")[0].unlink()
    assert check_dataset("scene_parsing", tmp_path, ["training"], thorough=thorough).ok


def test_the_full_ade20k_beside_scene_parsing_is_no_error(tmp_path):
    write_pair("scene_parsing", tmp_path, "training", "a", [[1, 2]])
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    assert check_dataset("scene_parsing", tmp_path, ["training"]).ok


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_cannot_be_found_is_reported(name, tmp_path):
    report = check_dataset(name, tmp_path)
    assert not report.ok
    assert "no pairs; 1 error" in str(report)
    write_pair(name, tmp_path, "val", "a", [[1]])
    report = check_dataset(name, tmp_path, ["train"])
    assert "there is no split 'train'" in str(report)
    report = check_dataset(name, tmp_path, classes=["unheard of"])
    assert "there is no class 'unheard of'" in str(report)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InputError, match="no data set 'imagenet'"):
        check_dataset("imagenet", "data")


def test_progress_is_shown_on_a_terminal_only(folder, capsys):
    check_dataset("folder", folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("thorough", [True, False])
def test_real_camvid_is_sound(thorough, real_data: Path):
    start = time.perf_counter()
    report = check_dataset("camvid", real_data, ["train", "val"], thorough=thorough)
    assert time.perf_counter() - start < (60 if thorough else 10)
    assert report.pairs == {"train": 367, "val": 101}
    assert report.problems == []
    if thorough:
        shares = report.pixels["val"]
        assert max(shares, key=lambda name: shares[name]) == "Road"


def test_real_voc_and_scene_parsing_are_sound(real_data: Path):
    assert check_dataset("voc", real_data, thorough=False).ok
    assert check_dataset("scene_parsing", real_data).pairs == {"validation": 3}


@pytest.mark.parametrize(
    ("name", "is_told"), [("Background", True), ("_background_", True), ("background", False)]
)
def test_a_class_that_is_nearly_called_background_is_told(
    name: str, is_told: bool, folder: Path
) -> None:
    (folder / "classes.txt").write_text(f"{name}\ncat\ndog\n")
    report = check_dataset("folder", folder)
    assert report.ok
    told = [problem.text for problem in report.problems if "stays clear" in problem.text]
    assert len(told) == is_told and all(repr(name) in text for text in told)


@pytest.mark.parametrize(
    ("names", "told"),
    [("cat", "'cat' is the only one"), ("background, cat", "give each a line of its own")],
)
def test_one_class_is_too_few(names: str, told: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_pair("folder", tmp_path, split, split, [[0, 0], [0, 255]])
    (tmp_path / "classes.txt").write_text(names)
    report = check_dataset("folder", tmp_path)
    assert not report.ok and told in str(report)


def test_no_split_to_score_on_is_told(tmp_path: Path) -> None:
    write_pair("folder", tmp_path, "train", "a", GOOD)
    report = check_dataset("folder", tmp_path)
    assert "val: there is none to score on; move some pairs of train into it" in str(report)
    assert check_dataset("folder", tmp_path, ["train"]).ok


@pytest.mark.parametrize("name", ["more", "more.jpg"])
def test_folders_that_are_not_read_are_told(name: str, folder: Path) -> None:
    (folder / "train/images" / name).mkdir()
    report = check_dataset("folder", folder)
    assert report.ok
    assert f"train/images/{name}: is a folder, and what is in it is not read" in str(report)


def test_no_split_to_train_on_is_told(tmp_path: Path) -> None:
    write_pair("folder", tmp_path, "val", "a", GOOD)
    report = check_dataset("folder", tmp_path)
    assert "train: there is none to train on; move some pairs of val into it" in str(report)
    assert check_dataset("folder", tmp_path, ["val"]).ok


def test_splits_of_other_names_need_no_pairs_moved(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write_pair("folder", tmp_path, split, split, GOOD)
    (told,) = check_dataset("folder", tmp_path).problems
    assert "rename another (validation), or train with --val-split and its name" in str(told)


def test_the_quick_check_draws_no_more_than_it_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(seed: int, size: int = 96) -> tuple[Image.Image, np.ndarray]:
        drawn.append(seed)
        return draw_scene(seed, size)

    monkeypatch.setattr(datasets, "draw_scene", draw)
    assert check_dataset("shapes", "", ["train"], thorough=False).ok
    assert len(drawn) == 32
