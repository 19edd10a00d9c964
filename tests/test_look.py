"""How the page looks: on a phone and a desk, light and dark, to all eyes, and while it loads."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from visiting import SIZES, Visitor, file, png, scene

CONTROLS = {
    "radio": ["Overlay", "Colours", "Outlines", "Confidence", "Off", "Photo", "32s 16s 8s"],
    "slider": ["Overlay opacity", "Fade unsure pixels", "square opacity"],
    "checkbox": ["Show overlay", "Show square"],
    "combobox": ["Palette"],
    "button": [
        *("Zoom in", "Zoom out", "Reset zoom", "Keys", "all", "none", "square"),
        *("Save mask as PNG", "Save overlay as PNG", "Save summary as JSON"),
    ],
}


def serious(visitor: Visitor) -> list[str]:
    """What axe-core finds to be serious or worse."""
    found = Axe().run(visitor.page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html']}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_every_control_has_a_name_and_a_place_and_axe_agrees(visit, width, scheme):
    visitor = visit(width, scheme)
    visitor.upload(scene(81))
    for role, names in CONTROLS.items():
        for name in names:
            control = visitor.figure.get_by_role(role, name=name, exact=True)
            expect(control).to_have_count(1)
            box = control.bounding_box()
            assert box["width"] > 10 and box["height"] > 10, name
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, name
    assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert serious(visitor) == []
    visitor.choose("Compare", "Photo")
    visitor.choose("View", "Confidence")
    visitor.figure.get_by_role("button", name="square", exact=True).click()
    assert serious(visitor) == []
    visitor.figure.get_by_role("button", name="Keys").click()
    assert serious(visitor) == []
    visitor.page.get_by_role("button", name="Close").click()
    files = [file("one.png", png(scene(82))), file("broken.png", b"no")]
    visitor.gallery.locator("input[type=file]").set_input_files(files)
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    assert serious(visitor) == []


def test_phone_shows_the_canvas_first_and_the_desk_all_side_by_side(visit):
    phone = visit(390)
    canvas, photo = phone.canvas.bounding_box(), phone.page.locator("#photo").bounding_box()
    legend = phone.figure.locator(".fcn-legend").bounding_box()
    assert canvas["y"] + canvas["height"] < legend["y"]
    assert legend["y"] + legend["height"] < photo["y"]
    assert canvas["y"] + canvas["height"] < 844  # seen without scrolling
    desk = visit(1280)
    photo, legend = desk.page.locator("#photo"), desk.figure.locator(".fcn-legend")
    stage = desk.figure.locator(".fcn-stage").bounding_box()
    left, right = photo.bounding_box(), legend.bounding_box()
    assert left["x"] + left["width"] < stage["x"]
    assert stage["x"] + stage["width"] < right["x"]
    assert max(left["y"], stage["y"], right["y"]) < 300


def test_a_phone_sees_what_becomes_of_a_photo(visit):
    phone = visit(390)
    stage, input = phone.figure.locator(".fcn-stage"), phone.page.locator("#photo")
    for name, content, state in (
        ("good.png", png(scene(85)), "done"),
        ("1234567890_" * 6 + ".heic", b"no photo", "failed"),
    ):
        input.evaluate("element => element.scrollIntoView()")
        expect(stage).not_to_be_in_viewport()
        phone.upload_bytes(name, content, state)
        expect(stage).to_be_in_viewport(ratio=1)
    place, words = stage.bounding_box(), phone.figure.locator(".fcn-blank").bounding_box()
    assert words["x"] >= place["x"]
    assert words["x"] + words["width"] <= place["x"] + place["width"]
    unread = "Failed to load resource"  # Gradio's own preview of it
    phone.errors = [one for one in phone.errors if not one.startswith(unread)]


def test_a_phone_has_room_for_the_scale_of_confidence(visit):
    phone = visit(390)
    phone.choose("View", "Confidence")
    scale = phone.figure.locator(".fcn-scale").bounding_box()
    buttons = phone.figure.locator(".fcn-corner").bounding_box()
    assert scale["y"] >= buttons["y"] + buttons["height"]


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_jumps(visit, width):
    """Neither while the page loads nor while a photo of another shape comes."""
    visitor = visit(width)
    shift = """() => new Promise((resolve) => {
        let sum = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) sum += entry.value;
        }).observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => resolve(sum), 300);
    })"""
    assert visitor.page.evaluate(shift) < 0.03
    stage = visitor.figure.locator(".fcn-stage")
    before = stage.bounding_box()
    for size in ((60, 200), (200, 60)):
        visitor.upload(scene(83, size))
        assert stage.bounding_box() == before
        box = visitor.canvas.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.01)
        assert box["x"] >= before["x"] and box["y"] >= before["y"]


def test_a_screen_reader_is_told(visit):
    visitor = visit()
    visitor.upload(scene(84))
    expect(visitor.status).to_have_attribute("role", "status")
    expect(visitor.status).to_contain_text("Found")
    expect(visitor.canvas).to_have_attribute("role", "img")
    slider = visitor.control("square opacity")
    slider.fill("0.5")
    expect(slider).to_have_attribute("aria-valuetext", "50 %")
    headers = visitor.figure.get_by_role("columnheader")
    assert headers.all_inner_texts()[1:] == ["Class", "Share", "Sure", "Opacity"]
