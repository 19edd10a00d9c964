"""Several photos at once: rows, sentences, one ZIP, and a run that is cancelled."""

import io
import json
import re
import threading
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image
from playwright.sync_api import expect
from visiting import SIZES, ByColor, Visitor, blend, file, page_colors, painted, png, scene

from fcn.demo import gallery, photo_input, rle
from fcn.segmenter import Segmenter

NAMES = ["one.png", "two <b>x</b>.png", "broken.jpg", "three.png", "one.png"]


def photos(seed: int) -> list[Image.Image | None]:
    return [None if "broken" in name else scene(seed + i) for i, name in enumerate(NAMES)]


def give(visitor: Visitor, given: list[Image.Image | None]) -> None:
    """Choose several files at once."""
    files = [
        file(name, b"no photo" if photo is None else png(photo))
        for name, photo in zip(NAMES, given, strict=True)
    ]
    visitor.gallery.locator("input[type=file]").set_input_files(files)


def expect_state(visitor: Visitor, state: str) -> None:
    expect(visitor.gallery).to_have_attribute("data-state", state)


@pytest.mark.parametrize(("width", "scheme"), [SIZES[0], SIZES[-1]])
def test_five_photos_with_a_broken_one(visit, served, width, scheme):
    visitor, given = visit(width, scheme), photos(50)
    expect(visitor.gallery.get_by_role("button", name="Several photos (up to 24)…")).to_be_visible()
    give(visitor, given)
    expect_state(visitor, "done")
    expect(visitor.gallery.get_by_role("status")).to_have_text("4 of 5 photos segmented by colors")
    rows = visitor.gallery.locator("li")
    expect(rows.locator("b")).to_have_text(NAMES)  # as text, whatever is in them
    expect(rows.nth(2)).to_contain_text("broken.jpg is not a photo that can be read")
    expect(rows.nth(2).get_by_role("button")).to_be_disabled()
    expect(rows.nth(0)).to_contain_text("square")

    found = served.segmenter(given[0])
    visitor.expect_pixels(blend(given[0], found, painted(found, 0.6)))  # the first opens by itself
    current = [row.get_attribute("aria-current") for row in rows.get_by_role("button").all()]
    assert current == ["true", *["false"] * 4]  # not both of one name
    visitor.requests.clear()
    rows.nth(3).get_by_role("button").click()
    expect(visitor.status).to_contain_text("three.png")
    expect(rows.nth(3).get_by_role("button")).to_have_attribute("aria-current", "true")
    found = served.segmenter(given[3])
    visitor.expect_pixels(blend(given[3], found, painted(found, 0.6)))
    assert not [url for url in visitor.asked() if "/file=" not in url]  # it is here already
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    visitor.upload(scene(59))
    current = [row.get_attribute("aria-current") for row in rows.get_by_role("button").all()]
    assert current == ["false"] * 5
    rows.nth(3).get_by_role("button").click()
    expect(visitor.status).to_contain_text("three.png")
    visitor.expect_pixels(blend(given[3], found, painted(found, 0.6)))
    if width == 1280:
        check_archive(visitor, served.segmenter, given)
        check_strides(visitor, served.segmenter, given[3])


def test_a_result_that_was_deleted_meanwhile_says_so(visit):
    visitor = visit()
    before = set(Path(get_upload_folder()).rglob("mask.zlib"))
    give(visitor, photos(70))
    expect_state(visitor, "done")
    for mask in set(Path(get_upload_folder()).rglob("mask.zlib")) - before:
        mask.unlink()
    with visitor.page.expect_response(lambda answer: answer.status in (403, 404)):
        visitor.gallery.locator("li button").nth(3).click()
    expect(visitor.status).to_contain_text("could not be fetched: choose the photo again.")
    visitor.errors.clear()  # the browser's own, about the file


def test_a_zip_that_was_deleted_meanwhile_says_so(visit):
    visitor = visit()
    before = set(Path(get_upload_folder()).rglob("segments.zip"))
    give(visitor, photos(75))
    expect_state(visitor, "done")
    (archive,) = set(Path(get_upload_folder()).rglob("segments.zip")) - before
    archive.unlink()
    visitor.gallery.get_by_role("link", name="Download all as ZIP").click()
    expect(visitor.gallery.get_by_role("status")).to_have_text(
        "The ZIP could not be fetched: choose the photos again."
    )
    visitor.errors.clear()  # the browser's own, about the file


def check_archive(visitor: Visitor, segmenter: Segmenter, given: list) -> None:
    with visitor.page.expect_download() as told:
        visitor.gallery.get_by_role("link", name="Download all as ZIP").click()
    with ZipFile(told.value.path()) as archive:
        stems = ["one", "two _b_x__b_", "three", "one-2"]
        endings = (".png", "_overlay.png", ".json")
        assert archive.namelist() == [stem + end for stem in stems for end in endings]
        for stem, photo in zip(stems, filter(None, given), strict=True):
            found = segmenter(photo)
            ids = Image.open(io.BytesIO(archive.read(f"{stem}.png")))
            np.testing.assert_array_equal(np.asarray(ids), found.labels)
            assert ids.mode == "P" and tuple(ids.getpalette()[3:6]) == page_colors(found)[1]
            shown = Image.open(io.BytesIO(archive.read(f"{stem}_overlay.png")))
            expected = blend(photo, found, painted(found, 0.6))
            np.testing.assert_allclose(np.asarray(shown, int), expected, atol=1)
            summary = json.loads(archive.read(f"{stem}.json"))
            masks = rle.encode(found.labels)
            assert all(one["rle"] == masks[one["id"]] for one in summary["classes"])


def check_strides(visitor: Visitor, segmenter: Segmenter, photo: Image.Image) -> None:
    """A photo of the gallery is compared like any other."""
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.figure.locator("..")).to_have_attribute("data-strides", re.compile(r"\d"))
    divider = visitor.figure.get_by_role("slider", name="Divider between FCN-16s and FCN-8s")
    divider.press("End")
    visitor.figure.get_by_role("slider", name="Divider between FCN-32s and FCN-16s").press("End")
    found = segmenter(photo, 32)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))
    divider.press("Home")  # and takes the other one, which lies there too, along
    found = segmenter(photo)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))


def test_others_need_not_wait_for_a_whole_list(visit, served, monkeypatch):
    go, segment = threading.Event(), Segmenter.__call__

    def first_waits(segmenter: Segmenter, photo: Image.Image) -> object:
        if photo.size == given[0].size:
            go.wait(60)
        return segment(segmenter, photo)

    visitor, other, given = visit(), visit(), photos(70)
    monkeypatch.setattr(Segmenter, "__call__", first_waits)
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("Segmenting 5 photos")
    other.upload(scene(80, (100, 80)))
    expect_state(visitor, "running")
    go.set()
    expect_state(visitor, "done")


def test_run_is_cancelled_and_what_is_done_stays(visit, monkeypatch):
    visitor, given = visit(), photos(60)
    go, segment, done = threading.Event(), Segmenter.__call__, []

    def second_waits(*arguments: object) -> object:
        if done:
            go.wait(60)
        done.append(1)
        return segment(*arguments)

    monkeypatch.setattr(Segmenter, "__call__", second_waits)
    visitor.gallery.get_by_role("button", name="Several photos").focus()
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("1 of 5 done")
    expect(visitor.gallery.get_by_role("button", name="Cancel")).to_be_focused()
    bar = visitor.gallery.get_by_role("progressbar", name="Photos done")
    expect(bar).to_have_js_property("value", 6)  # five are uploaded, one is done
    expect(bar).to_have_js_property("max", 10)
    visitor.gallery.get_by_role("button", name="Cancel").click()
    expect_state(visitor, "stopped")
    go.set()
    expect(visitor.gallery.get_by_role("status")).to_have_text(
        "Cancelled: 1 of 5 photos segmented by colors"
    )
    expect(visitor.gallery.get_by_role("button", name="Several photos")).to_be_focused()
    visitor.page.wait_for_timeout(500)
    expect(visitor.gallery.locator("li").nth(4)).to_contain_text("Not segmented")
    assert len(done) == 2  # the one that was running ends, and no other begins
    with visitor.page.expect_download() as told:
        visitor.gallery.get_by_role("link", name="Download all as ZIP").click()
    with ZipFile(told.value.path()) as archive:
        assert "one.png" in archive.namelist()
        assert archive.testzip() is None
    give(visitor, given)  # and the page is ready for the next
    expect_state(visitor, "done")


def test_a_second_run_begins_with_an_empty_bar(visit):
    visitor, given = visit(), photos(61)
    give(visitor, given)
    expect_state(visitor, "done")
    visitor.page.route("**/upload*", lambda route: None)  # it never comes to an end
    give(visitor, given)
    expect_state(visitor, "running")
    bar = visitor.gallery.get_by_role("progressbar", name="Photos done")
    expect(bar).to_have_js_property("value", 0)


def test_a_run_that_was_cancelled_does_not_end_the_next(visit, monkeypatch):
    visitor, given, go = visit(), photos(63), threading.Event()
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("Segmenting 5 photos")
    visitor.page.wait_for_timeout(500)  # until the network has the first
    # Two more at once, before Gradio has said that the run before failed.
    rest = visitor.gallery.evaluate("""async (section) => {
      const held = new DataTransfer(), input = section.querySelector('input');
      const status = section.querySelector('.several-status');
      for (const name of ['one.png', 'two.png']) {
        const canvas = new OffscreenCanvas(60, 40);
        canvas.getContext('2d').fillRect(0, 0, 30, 30);
        const blob = await canvas.convertToBlob();
        held.items.add(new File([blob], name, { type: 'image/png' }));
      }
      const start = performance.now();
      section.querySelector('.several-cancel').click();
      input.files = held.files;
      input.dispatchEvent(new Event('change'));
      while (status.textContent !== 'Segmenting 2 photos' && performance.now() < start + 9000) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return performance.now() - start;
    }""")
    assert 990 < rest < 9000  # or Gradio might lose them
    go.set()
    expect_state(visitor, "done")
    expect(visitor.gallery.get_by_role("status")).to_have_text("2 of 2 photos segmented by colors")


def test_a_slow_file_of_a_list_holds_up_no_other_photo(visit, monkeypatch):
    visitor, other, given, go = visit(), visit(), photos(65), threading.Event()
    assert gallery.decode_listed is not photo_input.decode
    slow = gallery.decode_listed
    monkeypatch.setattr(gallery, "decode_listed", lambda *given: go.wait(60) and slow(*given))
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("Segmenting 5 photos")
    other.upload(scene(81, (100, 80)))
    expect_state(visitor, "running")
    go.set()
    expect_state(visitor, "done")


def test_a_list_that_a_reload_ends_is_told_before_anything_is_done(visit, monkeypatch):
    visitor, given, go = visit(), photos(64), threading.Event()
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("Segmenting 5 photos")
    visitor.page.reload()
    visitor.errors.clear()  # Gradio's own, about the run
    go.set()
    expect(visitor.gallery.get_by_role("status")).to_have_text(
        "The page was reloaded: 0 of 5 photos segmented"
    )
    expect(visitor.gallery.locator("li").first).to_contain_text("Not segmented")
    expect(visitor.gallery.get_by_role("link", name="Download all as ZIP")).to_be_hidden()


def test_what_is_done_outlives_a_reload(visit, served, monkeypatch):
    visitor, given, go = visit(), photos(62), threading.Event()
    segment, done = Segmenter.__call__, []

    def third_waits(*arguments: object) -> object:
        if len(done) == 2:
            go.wait(60)
        done.append(1)
        return segment(*arguments)

    monkeypatch.setattr(Segmenter, "__call__", third_waits)
    give(visitor, given)
    expect(visitor.gallery.get_by_role("status")).to_have_text("3 of 5 done")  # one is broken
    visitor.page.reload()
    visitor.errors.clear()  # Gradio's own, about the run
    go.set()
    expect(visitor.gallery.get_by_role("status")).to_have_text(
        "The page was reloaded: 2 of 5 photos segmented by colors"
    )
    rows = visitor.gallery.locator("li")
    expect(rows.locator("b")).to_have_text(NAMES)
    expect(rows.nth(4)).to_contain_text("Not segmented")
    expect(visitor.status).to_contain_text("The page was reloaded")  # the first was open
    rows.nth(1).get_by_role("button").click()
    expect(visitor.status).to_contain_text(f"{NAMES[1]}: Found")
    found = served.segmenter(given[1])
    visitor.expect_pixels(blend(given[1], found, painted(found, 0.6)))
    with visitor.page.expect_download() as told:
        visitor.gallery.get_by_role("link", name="Download all as ZIP").click()
    assert told.value.suggested_filename == "segments.zip"


def test_a_photo_that_is_given_meanwhile_is_the_one_shown(visit, served, monkeypatch):
    visitor, photo = visit(), scene(81, (100, 80))
    go, segment = threading.Event(), Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    give(visitor, photos(82))
    visitor.upload(photo, "busy")
    go.set()
    expect_state(visitor, "done")
    visitor.expect_state("done")
    found = served.segmenter(photo)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))
    expect(visitor.gallery.locator("[aria-current=true]")).to_have_count(0)


def test_a_row_keeps_the_focus_while_others_are_done(visit, monkeypatch):
    visitor, go, segment = visit(), threading.Event(), Segmenter.__call__
    first = photos(87)[0]

    def others_wait(segmenter: Segmenter, photo: Image.Image) -> object:
        if photo.tobytes() != first.tobytes():
            go.wait(60)
        return segment(segmenter, photo)

    monkeypatch.setattr(Segmenter, "__call__", others_wait)
    give(visitor, photos(87))
    row = visitor.gallery.locator("li").first.get_by_role("button")
    expect(row).to_be_enabled()
    row.focus()
    go.set()
    expect_state(visitor, "done")
    expect(row).to_be_focused()


def test_files_have_the_palette_that_the_visitor_chose(visit, served):
    visitor, photo = visit(), scene(68)
    visitor.upload(photo)
    visitor.control("Palette").select_option("Data set’s own")
    visitor.gallery.locator("input[type=file]").set_input_files([file("one.png", png(photo))])
    expect_state(visitor, "done")
    with visitor.page.expect_download() as told:
        visitor.gallery.get_by_role("link", name="Download all as ZIP").click()
    with ZipFile(told.value.path()) as archive:
        mask = Image.open(io.BytesIO(archive.read("one.png")))
    palette = list(served.segmenter.palette)
    assert palette != page_colors(served.segmenter(photo))
    assert mask.getpalette() == [value for color in palette for value in color]


def test_another_choice_waits_for_the_run(visit, monkeypatch):
    visitor, go, segment = visit(), threading.Event(), Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    give(visitor, photos(66))
    expect(visitor.gallery.get_by_role("status")).to_contain_text("Segmenting")
    expect(visitor.gallery.get_by_role("button", name="Several photos")).to_be_disabled()
    go.set()
    expect_state(visitor, "done")
    expect(visitor.gallery.get_by_role("button", name="Several photos")).to_be_enabled()


def test_more_photos_than_are_taken_are_left_out_and_told(visit):
    visitor, content = visit(), png(scene(67, (40, 30)))
    chosen = [file(f"{number}.png", content) for number in range(gallery.MOST + 2)]
    visitor.gallery.locator("input[type=file]").set_input_files(chosen)
    expect_state(visitor, "done")
    expect(visitor.gallery.get_by_role("status")).to_have_text(
        "24 of 24 photos segmented by colors; 2 more left out (at most 24 at once)"
    )
    expect(visitor.gallery.locator("li b")).to_have_text([one["name"] for one in chosen[:24]])
    assert sum("/upload" in url for url in visitor.requests) == 24
    # What was left out of one choice is not said of the next.
    visitor.gallery.locator("input[type=file]").set_input_files(chosen[-2:])
    expect(visitor.gallery.get_by_role("status")).to_have_text("2 of 2 photos segmented by colors")


def test_several_dropped_photos_go_to_the_gallery(visit):
    visitor = visit()
    visitor.page.evaluate("""async () => {
        const dataTransfer = new DataTransfer();
        for (const name of ['a.png', 'b.png']) {
            const canvas = new OffscreenCanvas(70, 50);
            canvas.getContext('2d').fillRect(0, 0, 50, 50);
            const blob = await canvas.convertToBlob();
            dataTransfer.items.add(new File([blob], name, { type: 'image/png' }));
        }
        const place = document.querySelector('#photo input[type=file]').closest('button');
        place.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }));
    }""")
    expect_state(visitor, "done")
    expect(visitor.gallery.locator("li b")).to_have_text(["a.png", "b.png"])


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(ByColor(), "checkpoints/colors")


@pytest.mark.parametrize("given", [None, "x", {}, {"files": "x"}, {"files": [1, None]}])
def test_nonsense_from_a_browser_is_no_photo(segmenter, given):
    assert list(gallery.segment_all(segmenter, given)) == []


def test_files_that_were_not_uploaded_are_refused(segmenter, tmp_path: Path):
    scene(70).save(tmp_path / "mine.png")
    files = [{"name": "mine.png", "path": str(tmp_path / "mine.png")}, {"name": "x", "path": None}]
    *_, last = gallery.segment_all(segmenter, {"files": files})
    assert [one["state"] for one in last["items"]] == ["failed", "failed"]
    assert "upload it again" in last["items"][0]["line"]
    assert "larger than 20 MB" in last["items"][1]["line"]
    assert last["zip"] is None


def test_names_lead_out_of_no_folder(segmenter):
    path = Path(get_upload_folder()) / "one.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(71).save(path)
    names = ["../../up.png", "/etc/passwd", "...", "C:\\x.png"]
    files = [{"name": name, "path": str(path)} for name in names]
    *_, last = gallery.segment_all(segmenter, {"files": files})
    with ZipFile(last["zip"]["path"]) as archive:
        for name in archive.namelist():
            assert "/" not in name and "\\" not in name and not name.startswith(".")


def test_at_most_so_many_photos(segmenter):
    files = [{"name": "x", "path": None}] * (gallery.MOST + 5)
    *_, last = gallery.segment_all(segmenter, {"files": files})
    assert len(last["items"]) == gallery.MOST
