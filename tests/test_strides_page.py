"""Strides: which are offered, and another photo chosen before those that were asked for come."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from test_viewer_page import side_by_side
from visiting import (
    ByColor,
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

from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter

SIZE = (180, 120)


class Held(threading.Event):
    """Holds the first comparison back until it is set, which may then fail."""

    fails = False
    asked = 0


@pytest.fixture
def held(monkeypatch):
    go, segment = Held(), Segmenter.at_strides

    def wait(
        segmenter: Segmenter, photo: Image.Image, strides: Sequence[int]
    ) -> dict[int, Segmentation]:
        if len(strides) > 1:
            go.asked += 1
            if go.asked == 1:
                go.wait(60)
                if go.fails:
                    raise RuntimeError("a bug")
        return segment(segmenter, photo, strides)

    monkeypatch.setattr(Segmenter, "at_strides", wait)
    yield go
    go.set()


def watch_states(visitor: Visitor) -> None:
    """Remember all states of the viewer."""
    visitor.page.evaluate("""() => {
        const figure = document.querySelector('#viewer figure');
        window.states = [];
        new MutationObserver(() => states.push(figure.dataset.state))
            .observe(figure, { attributeFilter: ['data-state'] });
    }""")


def expect_compared(visitor: Visitor, segmenter: Segmenter, photo: Image.Image) -> None:
    """The photo is seen at all three strides, and nothing is waited for."""
    expect(visitor.status).to_contain_text("Found")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    expect(visitor.figure.get_by_role("progressbar")).to_be_hidden()
    layers = [
        blend(photo, one, painted(one, 0.6))
        for one in (segmenter(photo, stride) for stride in (32, 16, 8))
    ]
    visitor.expect_pixels(side_by_side(layers, [60, 120]))
    assert "failed" not in visitor.page.evaluate("states")


@pytest.mark.parametrize("fails", [False, True])
def test_strides_are_those_of_a_photo_that_was_uploaded_meanwhile(visit, served, held, fails):
    visitor, first, second = visit(), scene(101, SIZE), scene(102, SIZE)
    held.fails = fails
    visitor.upload(first)
    watch_states(visitor)
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.status).to_contain_text("Segmenting at strides")
    visitor.upload(second, "busy")
    held.set()
    visitor.expect_state("done")
    expect(visitor.figure.locator("..")).to_have_attribute("data-strides", re.compile(r"\d"))
    expect_compared(visitor, served.segmenter, second)
    assert held.asked == 2


@pytest.mark.parametrize("fails", [False, True])
def test_strides_are_those_of_a_row_that_was_opened_meanwhile(visit, served, held, fails):
    visitor, photos = visit(), {"a.png": scene(103, SIZE), "b.png": scene(104, SIZE)}
    held.fails = fails
    files = [file(name, png(photo)) for name, photo in photos.items()]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    expect(visitor.status).to_contain_text("a.png")
    watch_states(visitor)
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.status).to_contain_text("Segmenting at strides")
    visitor.gallery.get_by_role("button", name="b.png").click()
    expect(visitor.figure.locator("td").first).to_be_visible()
    held.set()
    expect(visitor.figure.locator("..")).to_have_attribute("data-strides", re.compile(r"\d"))
    expect_compared(visitor, served.segmenter, photos["b.png"])
    assert held.asked == 2


@pytest.fixture(scope="module")
def coarser() -> list[Segmenter]:
    """FCN-16s and FCN-32s."""
    networks = [Segmenter(ByColor(), f"checkpoints/fcn{stride}") for stride in (16, 32)]
    networks[0].stride, networks[1].stride = 16, 32
    return networks


@pytest.fixture(scope="module")
def three(coarser: list[Segmenter]) -> Iterator[Served]:
    yield from serve(by_color(), *coarser)


@pytest.fixture
def visit_three(chromium: Browser, three: Served) -> Iterator[Callable[..., Visitor]]:
    yield from visits(chromium, three)


def test_strides_finer_than_the_networks_own_are_not_offered(visit_three, three, coarser):
    visitor, photo = visit_three(), scene(105, SIZE)
    visitor.upload(photo)
    visitor.page.evaluate("""() => {
        const status = document.querySelector('#viewer .fcn-status');
        window.said = [];
        new MutationObserver(() => said.push(status.textContent))
            .observe(status, { childList: true });
    }""")
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    visitor.choose_network("fcn16")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    said = [one for one in visitor.page.evaluate("said") if "stride" in one]
    assert said == ["Segmenting at strides 32 and 16…", "Segmenting at stride 32…"]
    expect(visitor.figure.get_by_text("32s 16s", exact=True)).to_be_visible()
    expect(visitor.figure.locator(".fcn-chip:visible")).to_have_text(["FCN-32s", "FCN-16s"])
    found = [coarser[0](photo, stride) for stride in (32, 16)]
    layers = [blend(photo, one, painted(one, 0.6)) for one in found]
    visitor.expect_pixels(side_by_side(layers, [90]))

    visitor.choose_network("fcn32")  # which has nothing to compare
    options = visitor.figure.get_by_role("radiogroup", name="Compare").get_by_role("radio")
    expect(options).to_have_count(2)
    expect(options.first).to_be_checked()
    expect(visitor.figure.locator(".fcn-chip:visible")).to_have_count(0)
    visitor.page.keyboard.press("c")
    visitor.page.keyboard.press("c")
    expect(options.first).to_be_checked()
    found = coarser[1](photo)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))

    visitor.choose_network("colors")
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    visitor.page.evaluate("window.states = []")
    expect_compared(visitor, three.segmenter, photo)
