"""The viewer in a browser: what the canvas shows for every control, checked against the formula."""

import re
import threading

import numpy as np
import pytest
from playwright.sync_api import expect
from visiting import (
    HOSTILE,
    SIZES,
    Visitor,
    blend,
    names,
    painted,
    scene,
    sure,
)

from fcn.demo.answer import DOUBT
from fcn.palette import BACKGROUND
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter

RAMP = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])


def test_page_opens_segmented_and_asks_for_nothing(visit):
    visitor = visit()
    expect(visitor.status).to_contain_text("Found")
    about = visitor.page.locator("#about")
    expect(about).to_contain_text("Weights: colors, 12.5 % mIoU on shapes val")
    expect(about).to_contain_text("A note about them.")
    expect(about).to_contain_text(HOSTILE)
    expect(visitor.page.locator("#chooser")).to_have_count(0)  # there is nothing to choose
    before = visitor.pixels()
    visitor.control("Overlay opacity").fill("0")
    assert (visitor.pixels() != before).any()
    assert not any("/queue/join" in url for url in visitor.requests)
    assert not any(url.endswith("photo.png") for url in visitor.requests)  # but the JPEG that it is


def test_upload_is_segmented_once_and_blended_exactly(visit, served):
    visitor, photo = visit(), scene(1)
    found = served.segmenter(photo)
    visitor.upload(photo)
    assert sum("/queue/join" in url for url in visitor.requests) == 1
    rows = visitor.figure.locator("tbody tr")
    assert rows.locator("th").all_text_contents() == names(found)
    by_name = {one.name: one for one in found.found()}
    shares = [f"{100 * by_name[name].share:.1f} %" for name in names(found)]
    confidences = [f"{100 * by_name[name].confidence:.0f} %" for name in names(found)]
    assert rows.locator("td:nth-child(3)").all_text_contents() == shares
    assert rows.locator("td:nth-child(4)").all_text_contents() == confidences
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))
    label = visitor.canvas.get_attribute("aria-label")
    assert all(f"{name} {share}" in label for name, share in zip(names(found), shares, strict=True))


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_sliders_repaint_by_the_formula_without_a_request(visit, served, width, scheme):
    visitor, photo = visit(width, scheme), scene(2)
    found = served.segmenter(photo)
    visitor.upload(photo)
    alphas = painted(found, 0.35)
    visitor.requests.clear()
    visitor.control("Overlay opacity").fill("0.35")
    visitor.expect_pixels(blend(photo, found, alphas))
    slider = visitor.control("triangle opacity")
    slider.fill("0.5")
    slider.press("ArrowLeft")
    alphas["triangle"] = 0.35 * 0.49
    visitor.expect_pixels(blend(photo, found, alphas))
    visitor.control(f"Show {HOSTILE}").uncheck()
    alphas[HOSTILE] = 0
    visitor.expect_pixels(blend(photo, found, alphas))
    threshold = float(np.median(found.confidence).round(2))
    visitor.control("Fade unsure pixels").fill(str(threshold))
    visitor.expect_pixels(blend(photo, found, alphas, threshold))
    words = f"below {100 * threshold:.0f} %"
    expect(visitor.figure.locator(".fcn-unsure-text")).to_have_text(words)
    visitor.control("Show overlay").uncheck()
    visitor.expect_pixels(np.asarray(photo))
    assert visitor.asked() == []


def outlines(found: Segmentation) -> np.ndarray:
    """Pixels with another class above, below, to the left or to the right."""
    ids, edges = found.labels, np.zeros(found.labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(ids.astype(int), axis=axis) != 0
        edges |= np.pad(differs, [(0, int(i == axis)) for i in (0, 1)])
        edges |= np.pad(differs, [(int(i == axis), 0) for i in (0, 1)])
    return edges


def test_views_show_colours_outlines_and_confidence(visit, served):
    visitor, photo = visit(), scene(3)
    found = served.segmenter(photo)
    visitor.upload(photo)
    visitor.requests.clear()
    whole = painted(found, 1)
    scale = visitor.figure.get_by_role("img", name=re.compile("Scale"))
    expect(scale).to_be_hidden()
    visitor.choose("View", "Colours")
    black = np.zeros((*found.labels.shape, 3))
    visitor.expect_pixels(blend(black, found, whole))
    visitor.choose("View", "Outlines")
    lined = np.where(outlines(found)[..., None], blend(photo, found, whole), np.asarray(photo))
    visitor.expect_pixels(lined)
    visitor.choose("View", "Confidence")
    at = sure(found) / 255 * (len(RAMP) - 1)
    ramp = np.stack([np.interp(at, range(len(RAMP)), values) for values in RAMP.T], -1)
    np.testing.assert_allclose(visitor.pixels(), ramp, atol=0.51)
    expect(scale).to_be_visible()
    visitor.control("Overlay opacity").fill("0.5")
    np.testing.assert_allclose(visitor.pixels(), (ramp + np.asarray(photo)) / 2, atol=0.51)
    visitor.figure.get_by_role("button", name="none").click()  # all but the background, which has
    mapped = (found.labels == found.classes.index(BACKGROUND))[..., None]  # no colour to begin with
    half = np.where(mapped, (ramp + np.asarray(photo)) / 2, np.asarray(photo))
    np.testing.assert_allclose(visitor.pixels(), half, atol=0.51)
    visitor.figure.get_by_role("button", name="all").click()
    np.testing.assert_allclose(visitor.pixels(), (ramp + np.asarray(photo)) / 2, atol=0.51)
    for control in ("Palette", "square opacity"):
        expect(visitor.control(control)).to_be_disabled()
    visitor.choose("View", "Overlay")
    for control in ("Palette", "square opacity"):
        expect(visitor.control(control)).to_be_enabled()
    expect(visitor.control("Overlay opacity")).to_have_value("0.6")
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))
    assert visitor.asked() == []


def test_all_and_none(visit, served):
    visitor, photo = visit(), scene(4)
    found = served.segmenter(photo)
    visitor.upload(photo)
    expect(visitor.control(f"Show {BACKGROUND}")).not_to_be_checked()
    visitor.figure.get_by_role("button", name="none").click()
    visitor.expect_pixels(np.asarray(photo))
    visitor.figure.get_by_role("button", name="all", exact=True).click()
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))  # as it came
    visitor.control(f"Show {BACKGROUND}").check()
    visitor.expect_pixels(blend(photo, found, dict.fromkeys(found.classes, 0.6)))
    visitor.figure.get_by_role("button", name="square", exact=True).click()  # that class alone
    visitor.figure.get_by_role("button", name="all", exact=True).click()
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))
    visitor.figure.get_by_role("button", name="none").click()
    visitor.upload(another := scene(5))
    visitor.expect_pixels(np.asarray(another))


def test_palette_is_switched_between_safe_and_own(visit, served):
    visitor, photo = visit(), scene(5)
    found = served.segmenter(photo)
    visitor.upload(photo)
    visitor.control("Palette").select_option("Data set’s own")
    own = list(found.palette)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6), colors=own))
    swatch = visitor.control("Show triangle")
    assert swatch.evaluate("box => getComputedStyle(box).backgroundColor") == "rgb(60, 90, 250)"
    visitor.control("Palette").select_option("Colour-blind safe")
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))


def locate(visitor: Visitor, x: int, y: int) -> dict[str, float]:
    """Where a pixel of the photo is on the canvas."""
    box = visitor.canvas.bounding_box()
    width, height = visitor.canvas.evaluate("canvas => [canvas.width, canvas.height]")
    return {"x": (x + 0.5) / width * box["width"], "y": (y + 0.5) / height * box["height"]}


def test_pointer_names_the_pixel_and_its_row(visit, served):
    visitor, photo = visit(), scene(6)
    found = served.segmenter(photo)
    visitor.upload(photo)
    visitor.requests.clear()
    for x, y in [(10, 15), (80, 60), (150, 110)]:
        visitor.canvas.hover(position=locate(visitor, x, y))
        name = found.classes[found.labels[y, x]]
        text = f"{name} · {100 * sure(found)[y, x] / 255:.0f} % sure"
        expect(visitor.figure.locator(".fcn-tip")).to_have_text(text)
        expect(visitor.figure.locator("tr.is-pointed th")).to_have_text(name)
    visitor.page.locator("#head h1").hover()
    expect(visitor.figure.locator(".fcn-tip")).to_be_hidden()
    expect(visitor.figure.locator("tr.is-pointed")).to_have_count(0)
    assert visitor.asked() == []


def test_finger_names_the_pixel_and_isolates(visit, served):
    visitor, photo = visit(390, "light", touch=True), scene(7)
    found = served.segmenter(photo)
    visitor.upload(photo)
    visitor.canvas.tap(position=locate(visitor, 80, 60))
    name = found.classes[found.labels[60, 80]]
    expect(visitor.figure.locator(".fcn-tip")).to_contain_text(f"{name} ·")
    visitor.expect_pixels(blend(photo, found, {name: 0.6}))


def test_segment_or_row_is_isolated_and_brought_back(visit, served):
    visitor, photo = visit(), scene(8)
    found = served.segmenter(photo)
    visitor.upload(photo)
    every = blend(photo, found, painted(found, 0.6))
    name = found.classes[found.labels[60, 80]]
    visitor.canvas.click(position=locate(visitor, 80, 60))
    visitor.expect_pixels(blend(photo, found, {name: 0.6}))
    row = visitor.figure.get_by_role("button", name=name, exact=True)
    expect(row).to_have_attribute("aria-pressed", "true")
    visitor.canvas.click(position=locate(visitor, 80, 60))
    visitor.expect_pixels(every)
    visitor.figure.get_by_role("button", name=BACKGROUND, exact=True).click()
    visitor.expect_pixels(blend(photo, found, {BACKGROUND: 0.6}))
    visitor.figure.get_by_role("button", name="square", exact=True).click()
    visitor.expect_pixels(blend(photo, found, {"square": 0.6}))
    visitor.figure.get_by_role("button", name="square", exact=True).click()
    visitor.expect_pixels(every)


def test_choices_survive_the_next_photo(visit, served):
    visitor, first, second = visit(), scene(9), scene(10, (120, 150))
    found = served.segmenter(second)
    visitor.upload(first)
    visitor.control("Overlay opacity").fill("0.8")
    visitor.control("square opacity").fill("0.25")
    visitor.control(f"Show {HOSTILE}").uncheck()
    visitor.control("Palette").select_option("Data set’s own")
    visitor.control("Fade unsure pixels").fill("0.5")
    visitor.upload(second)
    expect(visitor.control("square opacity")).to_have_value("0.25")
    alphas = {**painted(found, 0.8), "square": 0.8 * 0.25, HOSTILE: 0}
    visitor.expect_pixels(blend(second, found, alphas, 0.5, list(found.palette)))
    visitor.choose("View", "Outlines")
    visitor.upload(first)
    expect(visitor.figure.get_by_role("radio", name="Outlines")).to_be_checked()


def test_comparison_with_the_photo(visit, served):
    visitor, photo = visit(), scene(11)
    found = served.segmenter(photo)
    visitor.upload(photo)
    visitor.requests.clear()
    visitor.choose("Compare", "Photo")
    layers = [np.asarray(photo), blend(photo, found, painted(found, 0.6))]
    visitor.expect_pixels(side_by_side(layers, [80]))
    divider = visitor.figure.get_by_role("slider", name="Divider between Photo and Segments")
    expect(divider).to_have_attribute("aria-valuenow", "50")
    for _ in range(5):
        divider.press("ArrowLeft")
    visitor.expect_pixels(side_by_side(layers, [64]))
    for key in ("ArrowDown", "ArrowUp", "ArrowDown"):
        divider.press(key)
    visitor.expect_pixels(side_by_side(layers, [61]))
    divider.press("Home")
    visitor.expect_pixels(layers[1])
    divider.press("End")
    visitor.expect_pixels(layers[0])
    words, photo_box = visitor.figure.get_by_text("Segments", exact=True), visitor.canvas
    words, photo_box = words.last.bounding_box(), photo_box.bounding_box()
    assert words["x"] + words["width"] <= photo_box["x"] + photo_box["width"] + 1
    place, stage = divider.bounding_box(), visitor.canvas.bounding_box()
    visitor.page.mouse.move(place["x"] + 5, place["y"] + place["height"] / 2)
    visitor.page.mouse.down()
    visitor.page.mouse.move(stage["x"] + stage["width"] / 4, place["y"] + 40, steps=3)
    visitor.page.mouse.up()
    visitor.expect_pixels(side_by_side(layers, [40]))
    visitor.choose("Compare", "Off")
    expect(divider).to_be_hidden()
    visitor.expect_pixels(layers[1])
    assert visitor.asked() == []


def side_by_side(layers: list[np.ndarray], columns: list[int]) -> np.ndarray:
    ends = [0, *columns, layers[0].shape[1]]
    parts = [one[:, ends[i] : ends[i + 1]] for i, one in enumerate(layers)]
    return np.concatenate(parts, axis=1)


def test_strides_are_compared_on_one_photo(visit, served):
    visitor, photo = visit(), scene(12, (180, 120))
    found = {stride: served.segmenter(photo, stride) for stride in (32, 16, 8)}
    assert (found[32].labels != found[16].labels).any()
    visitor.upload(photo)
    first = visitor.requests.copy()
    assert sum("/queue/join" in url for url in first) == 1  # nobody asked for strides yet
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.figure.locator("..")).to_have_attribute("data-strides", re.compile(r"\d"))
    expect(visitor.figure.locator(".fcn-chip")).to_have_text(["FCN-32s", "FCN-16s", "FCN-8s"])
    layers = [blend(photo, one, painted(one, 0.6)) for one in found.values()]
    visitor.expect_pixels(side_by_side(layers, [60, 120]))
    divider = visitor.figure.get_by_role("slider", name="Divider between FCN-16s and FCN-8s")
    divider.press("End")
    visitor.expect_pixels(side_by_side(layers, [60, 180]))
    x = int(np.flatnonzero((found[32].labels != found[8].labels)[60, :60])[0])
    visitor.canvas.hover(position=locate(visitor, x, 60))
    name = found[32].classes[found[32].labels[60, x]]
    expect(visitor.figure.locator(".fcn-tip")).to_contain_text(f"{name} ·")
    # The next photo is compared as well, as that is what the visitor looks at.
    photo = scene(13, (180, 120))
    visitor.upload(photo)
    expect(visitor.figure).to_have_attribute("aria-busy", "false")
    layers = [
        blend(photo, one, painted(one, 0.6))
        for one in (served.segmenter(photo, stride) for stride in (32, 16))
    ]
    visitor.expect_pixels(side_by_side(layers, [60, 180]))
    assert sum("/queue/join" in url for url in visitor.requests) == 4


def test_failed_strides_leave_the_photo_as_it_is(visit, served, monkeypatch):
    visitor, photo = visit(), scene(14)
    found = served.segmenter(photo)
    visitor.upload(photo)

    def crash(*given: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Segmenter, "at_strides", crash)
    visitor.choose("Compare", "32s 16s 8s")
    expect(visitor.status).to_contain_text("could not be computed")
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))


def scale(visitor: Visitor) -> float:
    box = visitor.canvas.bounding_box()
    return box["width"] / visitor.canvas.evaluate("canvas => canvas.offsetWidth")


def test_zoom_by_buttons_wheel_and_double_click(visit):
    visitor = visit()
    visitor.upload(scene(15, (320, 240)))
    reset = visitor.figure.get_by_role("button", name="Reset zoom")
    expect(reset).to_be_disabled()
    visitor.figure.get_by_role("button", name="Zoom in").click()
    assert scale(visitor) == pytest.approx(1.5, rel=0.01)
    visitor.figure.get_by_role("button", name="Zoom out").press("Enter")
    assert scale(visitor) == pytest.approx(1, rel=0.01)
    expect(visitor.canvas).to_be_focused()  # the button is of no use now
    stage = visitor.figure.locator(".fcn-stage").bounding_box()
    x, y = stage["x"] + 100, stage["y"] + 150
    visitor.page.mouse.move(x, y)
    tip = visitor.figure.locator(".fcn-tip")
    words = tip.text_content()
    visitor.page.keyboard.down("Control")
    visitor.page.mouse.wheel(0, -300)
    visitor.page.keyboard.up("Control")
    expect(reset).to_be_enabled()
    visitor.page.mouse.move(x, y)
    assert tip.text_content() == words  # what is under the pointer stays there
    before = visitor.canvas.bounding_box()
    visitor.page.mouse.down()
    visitor.page.mouse.move(x - 30, y - 20, steps=4)
    visitor.page.mouse.up()
    after = visitor.canvas.bounding_box()
    assert after["x"] - before["x"] == pytest.approx(-30, abs=1)
    assert after["y"] - before["y"] == pytest.approx(-20, abs=1)
    expect(visitor.figure.locator("tr.is-out")).to_have_count(0)  # to pan is not to isolate
    reset.click()
    assert scale(visitor) == pytest.approx(1, rel=0.01)
    visitor.page.mouse.dblclick(x, y)
    assert scale(visitor) == pytest.approx(2, rel=0.01)
    expect(visitor.figure.locator("tr.is-out")).to_have_count(0)


def test_a_plain_wheel_scrolls_the_page_until_the_photo_is_zoomed(visit):
    visitor = visit(390)  # where the page is longer than the window
    visitor.upload(scene(15, (320, 240)))
    visitor.page.evaluate(
        "document.addEventListener('wheel', (event) => (window.taken = event.defaultPrevented))"
    )

    def wheel(x: float, y: float, *keys: str) -> bool:
        """Turn it over the photo; whether the page was kept from scrolling."""
        visitor.canvas.hover()
        for key in keys:
            visitor.page.keyboard.down(key)
        visitor.page.evaluate("window.taken = null")
        visitor.page.mouse.wheel(x, y)
        visitor.page.wait_for_function("window.taken !== null")
        for key in keys:
            visitor.page.keyboard.up(key)
        return visitor.page.evaluate("window.taken")

    above = visitor.page.evaluate("scrollY")
    assert not wheel(0, -60)
    assert not wheel(0, 60)
    visitor.page.wait_for_function(f"scrollY !== {above}")
    assert scale(visitor) == pytest.approx(1, rel=0.01)
    assert not wheel(0, 60, "Control")  # there is nothing to zoom out of
    assert wheel(0, -60, "Control")
    assert scale(visitor) == pytest.approx(1.22, rel=0.01)
    assert wheel(0, -60)
    assert scale(visitor) == pytest.approx(1.49, rel=0.01)
    assert not wheel(60, 0)
    assert wheel(0, 100) and wheel(0, 100)
    assert scale(visitor) == pytest.approx(1, rel=0.01)
    for _ in range(5):
        visitor.page.keyboard.press("+")
        visitor.page.keyboard.press("+")
    assert not wheel(0, -60)
    assert scale(visitor) == pytest.approx(16, rel=0.01)


def test_only_a_mouses_first_button_pans_and_while_it_is_held(visit):
    visitor = visit()
    visitor.upload(scene(15, (320, 240)))
    visitor.page.keyboard.press("+")
    mouse, box = visitor.page.mouse, visitor.figure.locator(".fcn-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def moved() -> float:
        """How far the photo goes along with the pointer."""
        mouse.move(x, y)
        before = visitor.canvas.bounding_box()["x"]
        mouse.move(x - 30, y, steps=3)
        return visitor.canvas.bounding_box()["x"] - before

    mouse.move(x, y)
    mouse.down(button="right")
    assert moved() == 0
    mouse.up(button="right")
    mouse.move(x, y)
    mouse.down()
    assert moved() == pytest.approx(-30, abs=1)
    visitor.page.evaluate("addEventListener('pointerup', (e) => e.stopPropagation(), true)")
    mouse.up()  # as over a menu
    assert moved() == 0


def test_pinch_zooms(visit):
    visitor = visit(390, "light", touch=True)
    box = visitor.canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = visitor.page.context.new_cdp_session(visitor.page)

    def touch(kind: str, apart: float) -> None:
        points = (
            []
            if kind == "touchEnd"
            else [
                {"x": x - apart, "y": y, "id": 0},
                {"x": x + apart, "y": y, "id": 1},
            ]
        )
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for apart in (40, 50, 60):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    assert scale(visitor) == pytest.approx(2, rel=0.1)


def test_keyboard_alone_reaches_and_moves_everything(visit, served):
    visitor, photo = visit(), scene(16)
    found = served.segmenter(photo)
    visitor.upload(photo)
    keys = visitor.page.keyboard
    reached = set()
    visitor.canvas.focus()
    for _ in range(40):
        name = visitor.page.evaluate("""() => {
            const { ariaLabel, textContent, value, type } = document.activeElement;
            return ariaLabel ?? (type === 'radio' ? value : textContent.trim());
        }""")
        reached.add(name)
        keys.press("Tab")
    wanted = {"Zoom in", "Keys", "overlay", "off", "Save mask as PNG", "Save overlay as PNG"}
    wanted |= {"Save summary as JSON", "Show overlay", "Overlay opacity", "Fade unsure pixels"}
    wanted |= {"all", "none", "Palette", *names(found)}
    wanted |= {f"{name} opacity" for name in names(found)}
    wanted |= {f"Show {name}" for name in names(found)}
    assert wanted - reached == set()

    every = blend(photo, found, painted(found, 0.6))
    visitor.canvas.focus()
    keys.press("o")
    visitor.expect_pixels(np.asarray(photo))
    expect(visitor.control("Show overlay")).not_to_be_checked()
    keys.press("o")
    visitor.expect_pixels(every)
    first, second = names(found)[:2]
    keys.press("n")
    visitor.expect_pixels(blend(photo, found, {first: 0.6}))
    keys.press("n")
    visitor.expect_pixels(blend(photo, found, {second: 0.6}))
    expect(visitor.figure.locator(".fcn-words .fcn-spoken")).to_contain_text(f"Only {second}")
    keys.press("p")
    visitor.expect_pixels(blend(photo, found, {first: 0.6}))
    keys.press("Escape")
    visitor.expect_pixels(every)
    keys.press("v")
    expect(visitor.figure.get_by_role("radio", name="Colours")).to_be_checked()
    for _ in range(3):
        keys.press("v")
    keys.press("c")
    expect(visitor.figure.get_by_role("radio", name="Photo")).to_be_checked()
    visitor.choose("Compare", "Off")
    keys.press("+")
    assert scale(visitor) == pytest.approx(1.5, rel=0.01)
    before = visitor.canvas.bounding_box()["x"]
    visitor.canvas.focus()
    keys.press("ArrowRight")
    assert visitor.canvas.bounding_box()["x"] == pytest.approx(before - 40, abs=1)
    keys.press("0")
    assert scale(visitor) == pytest.approx(1, rel=0.01)
    keys.press("?")
    expect(visitor.page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("n")  # nothing moves behind the dialog
    keys.press("Escape")
    expect(visitor.page.get_by_role("dialog", name="Keys")).to_be_hidden()
    visitor.expect_pixels(every)
    visitor.page.get_by_role("button", name="Example: Lion").focus()  # beside the viewer, too
    keys.press("Shift+O")
    visitor.expect_pixels(np.asarray(photo))
    visitor.control("Palette").focus()
    keys.press("o")  # finds a palette by its name
    expect(visitor.control("Show overlay")).not_to_be_checked()


def test_keys_can_be_kept_to_the_photo(visit):
    visitor = visit()
    visitor.upload(scene(16))
    keys, shown = visitor.page.keyboard, visitor.control("Show overlay")
    visitor.page.get_by_role("button", name="Keys").click()
    visitor.page.get_by_label("Keys work anywhere on the page").uncheck()
    keys.press("Escape")
    visitor.page.get_by_role("button", name="Example: Lion").focus()
    keys.press("o")
    expect(shown).to_be_checked()
    visitor.canvas.focus()
    keys.press("o")
    expect(shown).not_to_be_checked()


def test_filter_finds_one_of_many_classes(visit, monkeypatch):
    visitor, photo = visit(), scene(17)
    expect(visitor.control("Find a class")).to_be_hidden()
    ids = (np.arange(120 * 160).reshape(120, 160) % 30).astype(np.uint8)
    classes = tuple(f"class {i}" for i in range(30))
    palette = tuple((8 * i, 0, 255 - 8 * i) for i in range(30))
    many = Segmentation(ids, np.ones(ids.shape, np.float32), classes, palette, "here", 0.1)
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: many)
    visitor.upload(photo)
    rows = visitor.figure.locator("tbody tr:visible")
    expect(rows).to_have_count(30)
    expect(visitor.control("Palette")).to_be_hidden()  # too many for the safe one
    visitor.control("Find a class").press_sequentially("Class 2")
    expect(rows).to_have_count(11)
    visitor.control("Find a class").press_sequentially("9")
    expect(rows.locator("th")).to_have_text("class 29")
    own = blend(photo, many, dict.fromkeys(classes, 0.6), colors=list(palette))
    visitor.expect_pixels(own)
    visitor.canvas.press("n")
    expect(rows.get_by_role("button")).to_have_attribute("aria-pressed", "true")


def test_the_legend_keeps_its_place_while_there_is_nothing_in_it(visit):
    visitor = visit(390)
    visitor.upload(scene(19))
    rows = visitor.figure.locator(".fcn-rows")
    height = rows.bounding_box()["height"]
    assert height > 100
    visitor.upload_bytes("bad.png", b"nothing", "failed")
    expect(visitor.figure.locator("tbody tr")).to_have_count(0)
    assert rows.bounding_box()["height"] == height


def test_while_the_network_runs_the_new_photo_stands_alone(visit, monkeypatch):
    visitor, photo, go = visit(), scene(18), threading.Event()
    segment = Segmenter.__call__
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: go.wait(60) and segment(*given))
    visitor.upload(photo, "busy")
    expect(visitor.figure.get_by_role("progressbar")).to_be_visible()
    expect(visitor.canvas).to_have_attribute("aria-label", "The photo, not segmented")
    visitor.expect_pixels(np.asarray(photo))
    expect(visitor.figure.locator("tbody tr")).to_have_count(0)
    expect(visitor.figure.get_by_role("button", name="Save mask as PNG")).to_be_disabled()
    go.set()
    visitor.expect_state("done")
    expect(visitor.figure.get_by_role("progressbar")).to_be_hidden()


def test_nothing_but_background_is_told_in_words(visit, monkeypatch):
    visitor, photo = visit(), scene(19)
    ids, confidence = np.zeros((120, 160), np.uint8), np.full((120, 160), 0.9, np.float32)
    classes, palette = (BACKGROUND, "cat"), ((0, 0, 0), (255, 0, 0))
    nothing = Segmentation(ids, confidence, classes, palette, "here", 0.1)
    monkeypatch.setattr(Segmenter, "__call__", lambda *given: nothing)
    visitor.upload(photo)
    expect(visitor.status).to_have_text("Found nothing: this network knows cat.")
    visitor.expect_pixels(np.asarray(photo))


def test_doubtful_photo_starts_faint_and_the_next_does_not(visit, served, monkeypatch):
    visitor = visit()
    with monkeypatch.context() as doubtful:
        doubtful.setattr(served.segmenter, "doubt_below", 1.1)
        visitor.upload(scene(20))
        expect(visitor.figure.locator(".fcn-caution")).to_have_text(DOUBT)
        expect(visitor.control("Overlay opacity")).to_have_value("0.25")
    visitor.upload(scene(21))
    expect(visitor.figure.locator(".fcn-caution")).to_be_empty()
    expect(visitor.control("Overlay opacity")).to_have_value("0.6")


def test_class_names_are_shown_and_not_run(visit):
    visitor = visit()
    visitor.upload(scene(22))
    expect(visitor.figure.get_by_role("button", name=HOSTILE)).to_be_visible()
    expect(visitor.page.locator("#viewer img, #about img")).to_have_count(0)
    expect(visitor.status).to_contain_text(HOSTILE)
