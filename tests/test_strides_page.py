"""Strides that are asked for and another photo chosen before they come."""

import re
import threading
from collections.abc import Sequence

import pytest
from PIL import Image
from playwright.sync_api import expect
from test_viewer_page import side_by_side
from visiting import Visitor, blend, file, painted, png, scene

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
