"""The tab "How it works", in a real browser, and when its pictures are computed."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from test_look import serious
from visiting import HOSTILE, SIZES, ByColor, Visitor, scene

from fcn import learn, lesson
from fcn.photo_input import Given
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


def test_the_lesson_is_of_the_visitors_photo_and_computed_when_opened(visit, told):
    visitor, photo = visit(), scene(91)
    visitor.upload(photo)
    assert told == []
    open_tab(visitor)
    (seen,) = told
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(photo))
    expect(visitor.page.locator("#lesson").get_by_role("status")).to_contain_text("your photo")
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
    expect(visitor.page.locator("#lesson").get_by_role("status")).to_contain_text("an example")
    visitor.page.get_by_role("tab", name="Segment").click()
    visitor.upload(scene(92, (60, 90)))
    assert len(told) == 1
    visitor.page.get_by_role("tab", name="How it works").click()
    expect(visitor.page.locator("#lesson").get_by_role("status")).to_contain_text("your photo")
    assert told[1].size == (60, 90)


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


def test_a_photo_that_cannot_be_opened_is_told_in_one_sentence(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    segmenter = Segmenter(ByColor(), "here")
    answer = learn.answer(segmenter, Given("bad.png", str(tmp_path / "bad.png")))
    assert answer["parts"] == [] and "bad.png is not a photo" in answer["line"]


def test_without_photo_and_examples_a_scene_is_drawn(monkeypatch):
    monkeypatch.setattr(learn, "find_examples", lambda classes: [])
    photo, of = learn.choose_photo(Segmenter(ByColor(), "here"), Given("", ""))
    assert (photo.size, of) == ((480, 360), "a drawn scene")
