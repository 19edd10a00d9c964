"""Several networks on one page: the chooser, and the tab about the chosen one."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser, Route, expect
from test_look import serious
from visiting import (
    HOSTILE,
    Served,
    Visitor,
    blend,
    by_color,
    file,
    painted,
    png,
    scene,
    serve,
    visits,
)

from fcn import checkpoint
from fcn.demo import learn
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A network of a hostile author."""
    folder = tmp_path_factory.mktemp("colors")
    metrics = {
        **{"mean_iou": 0.125, "dataset": "shapes", "split": HOSTILE, "images": 7},
        "per_class_iou": {HOSTILE: 0.5, "square": 0.75, "triangle": None},
    }
    checkpoint.write_json(folder / "metrics.json", metrics)
    checkpoint.write_json(folder / "training.json", {"hardware": HOSTILE, "step": 1440})
    Image.new("RGB", (40, 30), "white").save(folder / "curves.png")
    segmenter = by_color()
    segmenter.folder, segmenter.metrics = folder, metrics
    return segmenter


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Segmenter:
    return Segmenter.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def both(colors: Segmenter, tiny: Segmenter) -> Iterator[Served]:
    yield from serve(colors, tiny)


@pytest.fixture
def visit_both(chromium: Browser, both: Served) -> Iterator[Callable[..., Visitor]]:
    yield from visits(chromium, both)


def expect_found(visitor: Visitor, photo: Image.Image, found: Segmentation) -> None:
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))


def test_each_network_of_the_api_answers_at_its_own_stride(both, tiny, tmp_path, monkeypatch):
    scene(86).save(tmp_path / "photo.png")
    given = {"photo": handle_file(tmp_path / "photo.png"), "api_name": "/segment"}
    client = Client(both.url, verbose=False)
    monkeypatch.setattr(tiny, "stride", 32)
    for stride, choices in ((32, {}), (32, {"stride": None}), (16, {"stride": 16})):
        labels, *_ = client.predict(**given, **choices, network=tiny.source)
        with Image.open(labels) as ids:
            expected = tiny(scene(86), stride).labels
            np.testing.assert_array_equal(np.asarray(ids), expected)


def test_another_network_sees_the_same_photo(visit_both, colors, tiny):
    visitor, photo = visit_both(), scene(91)
    width = visitor.canvas.evaluate("canvas => canvas.width")
    visitor.choose_network("tiny")  # the photo that the page opened with
    assert visitor.canvas.evaluate("canvas => canvas.width") == width
    expect(visitor.figure.get_by_role("button", name="circle", exact=True)).to_be_visible()
    visitor.upload(photo)
    expect_found(visitor, photo, tiny(photo))
    visitor.figure.get_by_role("button", name="circle", exact=True).click()  # that class alone
    visitor.choose_network("colors")
    expect_found(visitor, photo, colors(photo))
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    # As a keyboard does it; the strides are the other network's then.
    visitor.page.get_by_role("radio", name="colors").press("ArrowDown")
    expect(visitor.page.get_by_role("radio", name="tiny")).to_be_checked()
    expect(visitor.figure.get_by_role("button", name="circle", exact=True)).to_be_visible()
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    for stride in (8, 16):
        visitor.figure.get_by_role("slider", name=re.compile(f"and FCN-{stride}s")).press("End")
    expect_found(visitor, photo, tiny(photo, 32))


@pytest.mark.parametrize("way", ["cancelled", "crashed", "lost"])
def test_a_network_that_comes_to_nothing_leaves_what_the_other_found(
    visit_both, colors, tiny, monkeypatch, way: str
):
    visitor, photo, go = visit_both(), scene(97), threading.Event()
    before = set(Path(get_upload_folder()).rglob("*"))
    visitor.upload(photo)
    if way == "lost":  # swept, or the server is another one
        for one in set(Path(get_upload_folder()).rglob("*.*")) - before:
            one.unlink()
        go.set()
    with monkeypatch.context() as patched:

        def fail(*given: object) -> None:
            go.wait(60)
            raise RuntimeError("a bug")

        patched.setattr(Segmenter, "__call__", fail)
        visitor.figure.evaluate("figure => figure.dataset.state = 'before'")
        visitor.page.get_by_role("radio", name="tiny").click()  # which may be undone at once
        if way == "cancelled":
            visitor.figure.get_by_role("button", name="Cancel").click()
        elif way == "crashed":
            visitor.expect_state("busy")
            go.set()
        visitor.expect_state("done")
        go.set()
    expect(visitor.status).to_contain_text("the previous result is shown.")
    expect(visitor.page.get_by_role("radio", name="colors")).to_be_checked()
    expect_found(visitor, photo, colors(photo))
    if way != "lost":
        visitor.choose_network("tiny")
        expect_found(visitor, photo, tiny(photo))


@pytest.mark.parametrize("is_there", [True, False])
def test_what_was_found_outlives_a_reload(visit_both, tiny, monkeypatch, is_there):
    visitor, photo, go = visit_both(), scene(99), threading.Event()
    before = set(Path(get_upload_folder()).rglob("*"))
    visitor.page.reload()
    expect(visitor.status).to_contain_text("Found")  # what the page opens with is nobody's own
    visitor.choose_network("tiny")
    visitor.upload(photo)
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.upload(scene(100), "busy")
    if not is_there:  # swept, or the server is another one
        for one in set(Path(get_upload_folder()).rglob("*.*")) - before:
            one.unlink()
    visitor.page.reload()
    visitor.errors.clear()  # Gradio's own, about the run
    go.set()
    if not is_there:
        visitor.page.wait_for_timeout(1000)
        expect(visitor.status).to_contain_text("Found")
        expect(visitor.page.get_by_role("radio", name="colors")).to_be_checked()
        visitor.errors.clear()  # the browser's own, about the file
        return
    told = "The page was reloaded: the previous result is shown."
    expect(visitor.status).to_have_text(told)
    expect(visitor.page.get_by_role("radio", name="tiny")).to_be_checked()
    expect_found(visitor, photo, tiny(photo))
    visitor.page.reload()  # and a second one
    expect(visitor.status).to_have_text(told)
    visitor.choose("Compare", "Photo")  # what was found is told again
    expect(visitor.status).to_contain_text("Found")
    visitor.choose("Compare", "Off")
    visitor.choose_network("colors")
    expect(visitor.status).to_contain_text("Found")


def test_a_photo_that_the_browser_has_is_not_sent_again(visit_both):
    visitor, photo = visit_both(), Image.effect_noise((1700, 40), 80)  # is scaled, and then sent
    visitor.upload(photo)
    visitor.requests.clear()
    visitor.choose_network("tiny")
    files = [url.rpartition("/")[2] for url in visitor.requests if "/file=" in url]
    assert files == ["mask.zlib"]


def test_a_photo_on_its_way_is_seen_by_the_network_that_was_chosen_last(
    visit_both, tiny, monkeypatch
):
    visitor, photo, go = visit_both(), scene(92), threading.Event()
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.upload(photo, "busy")
    visitor.page.get_by_role("radio", name="tiny").check()
    go.set()
    visitor.expect_state("done")
    expect_found(visitor, photo, tiny(photo))


def test_another_network_is_chosen_while_a_result_is_fetched(visit_both, tiny):
    visitor, photo, held = visit_both(), scene(93), []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    visitor.page.route(re.compile("mask"), hold_first)
    visitor.upload(photo, "busy")
    while not held:
        visitor.page.wait_for_timeout(50)
    visitor.choose_network("tiny")
    expect_found(visitor, photo, tiny(photo))
    held[0].continue_()
    visitor.page.wait_for_timeout(500)
    expect_found(visitor, photo, tiny(photo))


def test_strides_that_come_late_are_not_taken_for_the_photo(visit_both, colors, monkeypatch):
    visitor, photo = visit_both(), scene(95)
    visitor.upload(photo)
    strides, asked, segments = (threading.Event() for _ in range(3))
    compare, segment = Segmenter.at_strides, Segmenter.__call__

    def compare_later(segmenter: Segmenter, photo: Image.Image, some: tuple[int, ...]) -> object:
        if len(some) > 1:
            strides.wait(60)
        return compare(segmenter, photo, some)

    def segment_later(*given: object) -> object:
        asked.set()
        segments.wait(60)
        return segment(*given)

    monkeypatch.setattr(Segmenter, "at_strides", compare_later)
    monkeypatch.setattr(Segmenter, "__call__", segment_later)
    visitor.choose("Compare", "32s 16s 8s")
    visitor.page.get_by_role("radio", name="tiny").check()
    visitor.expect_state("busy")
    strides.set()
    assert asked.wait(60)  # so the strides are on their way
    visitor.page.wait_for_timeout(1000)
    visitor.page.get_by_role("radio", name="colors").check()
    segments.set()
    visitor.expect_state("done")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    for stride in (16, 8):
        visitor.figure.get_by_role("slider", name=re.compile(f"and FCN-{stride}s")).press("Home")
    expect_found(visitor, photo, colors(photo))


def test_several_photos_are_seen_by_the_chosen_network(visit_both, colors, tiny):
    visitor, photo = visit_both(), scene(93)
    visitor.choose_network("tiny")
    files = [file("one.png", png(photo)), file("two.png", png(scene(94)))]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    expect_found(visitor, photo, tiny(photo))
    visitor.choose_network("colors")
    expect_found(visitor, photo, colors(photo))
    visitor.figure.evaluate("figure => figure.dataset.state = 'before'")
    visitor.gallery.get_by_role("button", name=re.compile("two")).click()
    visitor.expect_state("done")
    expect_found(visitor, scene(94), colors(scene(94)))


def test_rows_that_are_chosen_quickly_are_each_asked_about(visit_both, colors, tiny, monkeypatch):
    visitor, photos, go = visit_both(), [scene(95), scene(96)], threading.Event()
    files = [file(f"{name}.png", png(one)) for name, one in zip("ab", photos, strict=True)]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.page.get_by_role("radio", name="tiny").check()  # sees the first again
    visitor.expect_state("busy")
    visitor.gallery.get_by_role("button", name="b.png").click()
    go.set()
    visitor.expect_state("done")
    expect_found(visitor, photos[1], tiny(photos[1]))


def test_the_model_tab_follows_a_quick_change_of_mind(visit_both):
    visitor, held = visit_both(), []

    def hold_first(route: Route) -> None:  # as if the server were far away
        if held:
            route.continue_()
        else:
            held.append(route)

    visitor.page.route("**/run/**", hold_first)
    for name in ("tiny", "colors"):
        visitor.page.get_by_role("radio", name=name).check()
    visitor.page.get_by_role("tab", name="Model").click()
    visitor.page.wait_for_timeout(300)
    held[0].continue_()
    visitor.page.wait_for_timeout(1500)
    expect(visitor.page.locator("#numbers").get_by_role("heading", name="colors")).to_be_visible()


@pytest.mark.parametrize("crashes", [False, True])
def test_an_open_lesson_is_by_the_network_that_the_run_ends_with(visit_both, monkeypatch, crashes):
    visitor, go, told = visit_both(), threading.Event(), []
    segment, tell = Segmenter.__call__, learn.tell

    def wait(*given: object) -> object:
        go.wait(60)
        if crashes:
            raise RuntimeError("a bug")
        return segment(*given)

    def tell_of(segmenter: Segmenter, photo: Image.Image) -> object:
        told.append(segmenter.name)
        return tell(segmenter, photo)

    visitor.upload(scene(98))
    monkeypatch.setattr(Segmenter, "__call__", wait)
    monkeypatch.setattr(learn, "tell", tell_of)
    visitor.page.get_by_role("radio", name="tiny").check()
    visitor.expect_state("busy")
    visitor.page.get_by_role("tab", name="How it works").click()
    go.set()
    lesson = visitor.page.locator("#lesson")
    expect(lesson).to_contain_text(HOSTILE if crashes else "circle")  # a class of that one alone
    visitor.expect_state("done")
    visitor.page.wait_for_timeout(1000)  # for one too many
    assert told == (["tiny", "colors"] if crashes else ["tiny"])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_model_tab_is_about_the_chosen_network(visit_both, width, scheme):
    visitor, before = visit_both(width, scheme), set(Path(get_upload_folder()).rglob("curves.png"))
    chooser = visitor.page.get_by_role("group", name="Network")
    expect(chooser).to_contain_text(f"12.5 % mIoU on shapes {HOSTILE}")
    expect(chooser).not_to_contain_text("checkpoints/")  # as their names differ
    link = visitor.page.locator("#head").get_by_text("Your photo")
    expect(link).to_be_visible(visible=width == 390)
    dots = visitor.page.locator("footer .divider:visible")  # between two links, or of no use
    expect(dots).to_have_count(int(width > 390))
    assert serious(visitor) == []
    assert not any("curves.png" in url for url in visitor.requests)
    visitor.page.get_by_role("tab", name="Segment").focus()
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    numbers, pictures = visitor.page.locator("#numbers"), visitor.page.locator("#pictures img")
    expect(numbers.get_by_role("row", name=f"{HOSTILE} 50.0 %")).to_be_visible()
    expect(numbers).to_contain_text(f"1,440 steps in ? minutes on {HOSTILE}")
    expect(numbers.locator("img")).to_have_count(0)
    expect(link).to_be_hidden()  # it leads to the other tab
    expect(pictures).to_have_js_property("naturalWidth", 40)
    assert serious(visitor) == []
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    visitor.page.get_by_role("tab", name="Segment").click()
    visitor.choose_network("tiny")
    visitor.page.get_by_role("tab", name="Model").click()
    expect(numbers.get_by_role("heading", name="tiny")).to_be_visible()
    expect(pictures).to_have_count(0)
    # Or who asks again and again would fill the disk.
    assert set(Path(get_upload_folder()).rglob("curves.png")) == before
