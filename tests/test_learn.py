"""The tab "How it works", in a real browser, and when its pictures are computed."""

import io
import threading
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from test_look import serious
from visiting import HOSTILE, SIZES, ByColor, Visitor, file, png, scene

from fcn.demo import learn, lesson
from fcn.demo.photo_input import offer
from fcn.segmenter import Segmenter


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Image.Image]:
    """The photos that lessons are computed of."""
    photos: list[Image.Image] = []

    def tell(segmenter: Segmenter, photo: Image.Image):
        photos.append(photo)
        return lesson.tell(segmenter, photo)

    monkeypatch.setattr(learn, "tell", tell)
    return photos


def open_tab(visitor: Visitor) -> None:
    visitor.page.get_by_role("tab", name="How it works").click()
    expect(visitor.page.locator("#lesson h2")).to_have_count(6)


def expect_told(visitor: Visitor, name: str) -> None:
    told = visitor.page.locator("#lesson").get_by_role("status")
    expect(told).to_have_text(f"The pictures are of {name}.")


def test_the_lesson_is_of_the_visitors_photo_and_computed_when_opened(visit, told):
    visitor, photo = visit(), scene(91)
    visitor.upload(photo)
    assert told == []
    open_tab(visitor)
    (seen,) = told
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(photo))
    expect_told(visitor, "photo")
    assert visitor.page.locator("#lesson h2").all_inner_texts() == [
        f"{number}. {title}" for number, title in enumerate(lesson.PARTS, 1)
    ]
    pictures = visitor.page.locator("#lesson img")
    sizes = pictures.evaluate_all("images => Promise.all(images.map((i) => i.decode()))")
    assert len(sizes) > 25
    body = visitor.page.request.get(pictures.first.get_attribute("src")).body()
    shown = Image.open(io.BytesIO(body))
    assert shown.size == (96, 72)  # the engine's own size
    near = np.asarray(photo.resize(shown.size, Image.Resampling.BILINEAR), int)
    assert np.abs(np.asarray(shown, int) - near).mean() < 5
    visitor.page.get_by_role("tab", name="Segment").click()
    visitor.expect_state("done")
    open_tab(visitor)
    assert len(told) == 1


def test_another_photo_is_told_of_when_the_tab_is_opened_again(visit, told):
    visitor = visit()
    open_tab(visitor)
    expect_told(visitor, "tower")
    visitor.page.get_by_role("tab", name="Segment").click()
    visitor.upload(scene(92, (60, 90)))
    assert len(told) == 1
    visitor.page.get_by_role("tab", name="How it works").click()
    expect_told(visitor, "photo")
    assert told[1].size == (60, 90)


def test_a_photo_that_is_opened_from_the_list_is_told_of(visit, told):
    visitor, photos = visit(), [scene(94), scene(95, (90, 60))]
    files = [file(f"{name}.png", png(photo)) for name, photo in zip("ab", photos, strict=True)]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    visitor.gallery.locator("li button").nth(1).click()
    expect(visitor.canvas).to_have_js_property("width", 90)
    open_tab(visitor)
    expect_told(visitor, "b")
    (seen,) = told
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(photos[1]))


def test_a_photo_that_comes_too_late_to_be_shown_is_not_told_of(visit, told, monkeypatch):
    visitor, photos, go = visit(), [scene(88), scene(89, (90, 60))], threading.Event()
    files = [file(f"{name}.png", png(photo)) for name, photo in zip("ab", photos, strict=True)]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.upload(scene(87), "busy", name="late.png")
    visitor.gallery.locator("li button").nth(1).click()
    expect(visitor.canvas).to_have_js_property("width", 90)
    go.set()
    visitor.page.wait_for_timeout(1000)  # for the answer that nobody waits for
    open_tab(visitor)
    expect_told(visitor, "b")


@pytest.mark.parametrize("how", ["removed", "refused", "cancelled", "failed"])
def test_a_photo_that_was_given_up_is_not_told_of(visit, told, monkeypatch, how):
    visitor, go = visit(), threading.Event()
    visitor.upload(scene(98), name="mine.png")
    if how == "removed":
        visitor.page.locator("#photo").get_by_label("Remove Image").click()
        visitor.expect_state("empty")
    elif how == "refused":
        visitor.upload_bytes("note.txt", b"no photo", "failed", "text/plain")
    elif how == "failed":
        with monkeypatch.context() as patched:
            patched.setattr(Segmenter, "__call__", Mock(side_effect=RuntimeError))
            visitor.upload(scene(99), "failed", name="next.png")
        visitor.errors.clear()  # Gradio's own, about the run
    else:
        segment = Segmenter.__call__
        monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
        visitor.upload(scene(99), "busy", name="next.png")
        visitor.page.get_by_role("button", name="Cancel").first.click()
        go.set()
        visitor.expect_state("failed")
    open_tab(visitor)
    expect_told(visitor, "an example")


def test_an_open_lesson_follows_the_photo_whose_run_ends(visit, told, monkeypatch):
    visitor, first, second, go = visit(), scene(96), scene(97, (60, 90)), threading.Event()
    visitor.upload(first, name="first.png")
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.upload(second, "busy", name="second.png")
    visitor.page.get_by_role("tab", name="How it works").click()
    go.set()
    expect_told(visitor, "second")
    assert told[-1].size == (60, 90)
    visitor.page.get_by_role("tab", name="Segment").click()
    visitor.expect_state("done")
    open_tab(visitor)
    expect_told(visitor, "second")
    assert len(told) == 2


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_the_tab_fits_and_axe_agrees(visit, width, scheme):
    visitor = visit(width, scheme)
    visitor.upload(scene(93))
    open_tab(visitor)
    visitor.page.locator("#lesson summary").first.click()
    expect(visitor.page.locator("#lesson pre").first).to_be_visible()
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert serious(visitor) == []
    assert visitor.page.locator("#lesson figcaption", has_text=HOSTILE).count() > 0


def test_a_photo_that_cannot_be_opened_is_told_in_one_sentence():
    value = {"name": "bad", "photo": offer(b"nothing", "photo.png")}
    answer = learn.answer(Segmenter(ByColor(), "here"), value)
    assert answer["parts"] == [] and "bad.png is not a photo" in answer["line"]
    Path(value["photo"]["path"]).unlink()
    answer = learn.answer(Segmenter(ByColor(), "here"), value)
    assert answer["parts"] == [] and "bad.png is not here any more" in answer["line"]


def test_without_photo_and_examples_a_scene_is_drawn(monkeypatch):
    monkeypatch.setattr(learn, "find_examples", lambda classes: [])
    photo, of = learn.choose_photo(Segmenter(ByColor(), "here"), None)
    assert (photo.size, of) == ((480, 360), "a drawn scene")
