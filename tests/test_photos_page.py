"""Ways for a photo to the page, a run that is cancelled, and files that are no good."""

import io
import re
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from profiles import DISPLAY_P3, SRGB
from visiting import Visitor, blend, file, painted, png, scene

from fcn.demo.photo_input import Given
from fcn.photo import MAX_MEGABYTES, NO_PHOTO
from fcn.segmentation import Segmentation
from fcn.segmenter import Segmenter


class Gate(threading.Event):
    """Holds the network back until it is set, and keeps the photos that came to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Image.Image] = []


@pytest.fixture
def gate(monkeypatch):
    go, segment = Gate(), Segmenter.__call__

    def wait(segmenter: Segmenter, photo: Image.Image) -> Segmentation:
        go.seen.append(photo)
        go.wait(60)
        return segment(segmenter, photo)

    monkeypatch.setattr(Segmenter, "__call__", wait)
    yield go
    go.set()


def test_example_and_clearing(visit):
    visitor = visit()
    visitor.page.get_by_role("button", name="Example: Lion").click()
    expect(visitor.canvas).to_have_js_property("width", 256)
    visitor.expect_state("done")
    assert sum("/queue/join" in url for url in visitor.requests) == 1
    visitor.page.locator("#photo").get_by_label(re.compile("Clear|Remove")).click()
    visitor.expect_state("empty")
    expect(visitor.figure.locator("tbody tr")).to_have_count(0)
    expect(visitor.figure.get_by_role("button", name="Save mask as PNG")).to_be_disabled()


def test_the_focus_stays_in_the_input_when_its_photo_is_removed(visit):
    visitor = visit()
    visitor.upload(scene(70))
    visitor.page.locator("#photo").get_by_label("Remove Image").press("Enter")
    visitor.expect_state("empty")
    expect(visitor.page.locator("#photo").get_by_label("Upload file")).to_be_focused()


def test_a_photo_that_was_given_twice_can_be_removed(visit, gate):
    visitor, given = visit(), file("twice.png", png(scene(74)))
    visitor.upload(scene(74), "busy", name="twice.png")
    with visitor.page.expect_response("**/upload*"):
        visitor.page.locator("#photo input[type=file]").set_input_files(given)
    visitor.page.wait_for_timeout(500)  # for Gradio to tell of it
    gate.set()
    visitor.expect_state("done")
    visitor.page.locator("#photo").get_by_label("Remove Image").click()
    visitor.expect_state("empty")
    expect(visitor.status).to_contain_text("Choose a photo")


def test_an_upload_that_fails_is_told_and_leaves_what_was_found(visit, gate):
    visitor, files = visit(), "#photo input[type=file]"
    gate.set()
    visitor.upload(scene(71))
    pixels = visitor.pixels()
    visitor.page.route("**/upload*", lambda route: route.abort())
    visitor.page.locator(files).set_input_files(file("b.png", png(scene(72))))
    told = "That photo could not be uploaded: "
    expect(visitor.status).to_have_text(f"{told}the previous result is shown.")
    visitor.expect_state("done")
    np.testing.assert_array_equal(visitor.pixels(), pixels)
    visitor.page.unroute("**/upload*")
    gate.clear()
    visitor.upload(scene(73), "busy")  # the next one is taken
    visitor.page.route("**/upload*", lambda route: route.abort())
    visitor.page.locator(files).set_input_files(file("b.png", png(scene(72))))
    expect(visitor.status).to_have_text(f"{told}choose it again.")
    visitor.expect_state("failed")
    visitor.page.unroute("**/upload*")
    gate.set()
    visitor.upload(scene(74, (100, 80)))
    expect(visitor.canvas).to_have_js_property("width", 100)
    assert all("Failed to" in one for one in visitor.errors)  # the browser's and Gradio's own words
    visitor.errors.clear()


def test_photo_is_pasted(visit):
    visitor = visit()
    visitor.page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(90, 60);
        canvas.getContext('2d').fillRect(0, 0, 50, 50);
        const clipboardData = new DataTransfer();
        const blob = await canvas.convertToBlob();
        clipboardData.items.add(new File([blob], 'pasted.png', { type: 'image/png' }));
        document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));
    }""")
    expect(visitor.canvas).to_have_js_property("width", 90)
    visitor.expect_state("done")


def test_photo_is_dropped(visit):
    visitor = visit()
    visitor.page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(70, 50);
        canvas.getContext('2d').fillRect(0, 0, 50, 50);
        const blob = await canvas.convertToBlob();
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([blob], 'dropped.png', { type: 'image/png' }));
        const place = document.querySelector('#photo input[type=file]').closest('button');
        place.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true }));
    }""")
    expect(visitor.canvas).to_have_js_property("width", 70)
    visitor.expect_state("done")


def drop(visitor: Visitor, selector: str, *files: str) -> None:
    """Drop files on something as a visitor does; what the browser makes of it is its own."""
    box = visitor.page.locator(selector).bounding_box()
    session = visitor.page.context.new_cdp_session(visitor.page)
    data = {"items": [], "files": list(files), "dragOperationsMask": 1}
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "data": data}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place})


def test_a_photo_is_dropped_where_another_one_is(visit, tmp_path):
    visitor, pages = visit(), len(visit().page.context.pages)
    for number, place in enumerate(("#photo", "#photo", "#photo", "canvas")):
        file = tmp_path / f"{number}.png"
        scene(60 + number, (100 + number, 80)).save(file)
        drop(visitor, place, str(file))
        expect(visitor.canvas).to_have_js_property("width", 100 + number)
        visitor.expect_state("done")
        expect(visitor.page.locator("#photo")).not_to_have_class(re.compile("border_focus"))
    drop(visitor, "canvas", str(tmp_path / "0.png"), str(tmp_path / "1.png"))
    expect(visitor.gallery).to_have_attribute("data-state", "done")
    expect(visitor.canvas).to_have_js_property("width", 100)
    drop(visitor, "#head", str(tmp_path / "2.png"))
    expect(visitor.canvas).to_have_js_property("width", 102)
    visitor.expect_state("done")
    visitor.page.get_by_role("tab", name="Model").click()  # where nothing waits for a photo
    drop(visitor, "#head", str(tmp_path / "3.png"))
    visitor.page.wait_for_timeout(300)
    visitor.page.get_by_role("tab", name="Segment").click()
    expect(visitor.canvas).to_have_js_property("width", 102)
    assert len(visitor.page.context.pages) == pages  # the browser opened none of them by itself


def test_a_file_that_is_too_large_is_told_and_not_sent(visit):
    visitor = visit()
    visitor.upload(scene(66))
    visitor.requests.clear()
    visitor.upload_bytes("huge.jpg", bytes(MAX_MEGABYTES * 2**20 + 1), "failed")
    told = "huge.jpg is larger than the limit of 20 MB."
    expect(visitor.status).to_have_text(told)
    visitor.page.wait_for_timeout(500)  # until the input has let go of the one before
    expect(visitor.status).to_have_text(told)
    assert not [url for url in visitor.requests if "upload" in url]
    visitor.upload(scene(66))


def test_a_file_of_a_kind_that_the_browser_does_not_know_goes_by_its_ending(visit):
    visitor, scan, unknown = visit(), io.BytesIO(), "application/octet-stream"
    scene(69, (100, 80)).save(scan, "TIFF")
    visitor.upload_bytes("scan.TIFF", scan.getvalue(), "done", unknown)
    expect(visitor.canvas).to_have_js_property("width", 100)
    visitor.upload_bytes("scan", png(scene(74, (90, 80))), "done", unknown)  # without any
    expect(visitor.canvas).to_have_js_property("width", 90)
    content, sentence = REFUSED["phone.heic"]
    visitor.upload_bytes("phone.heic", content, "failed", unknown)
    expect(visitor.status).to_contain_text(sentence)
    visitor.page.wait_for_timeout(500)  # until the input has let go of it
    visitor.requests.clear()
    visitor.upload_bytes("notes.txt", b"no photo", "failed", "text/plain")
    expect(visitor.status).to_have_text(f"notes.txt {NO_PHOTO}")
    assert not [url for url in visitor.requests if "upload" in url]
    forget_previews(visitor)


def test_a_camera_that_cannot_be_had_is_told(visit):
    visitor = visit()
    visitor.page.evaluate("""() => {
        const reason = new DOMException('Requested device not found', 'NotFoundError');
        navigator.mediaDevices.getUserMedia = () => Promise.reject(reason);
    }""")
    visitor.upload(scene(67))
    visitor.page.get_by_role("button", name="Capture from camera").click()
    visitor.page.get_by_text("Click to Access Webcam").click()
    expect(visitor.status).to_have_text("No camera can be used here.")
    visitor.page.get_by_role("button", name="Upload file").click()  # leads back
    expect(visitor.page.get_by_text("Click to Upload")).to_be_visible()
    visitor.upload(scene(67))


def test_the_button_to_upload_takes_no_photo_away(visit, tmp_path):
    visitor, photo = visit(), tmp_path / "next.png"
    visitor.upload(scene(64))
    scene(65, (90, 60)).save(photo)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="Upload file").click()
    expect(visitor.canvas).to_have_js_property("width", 160)
    chooser.value.set_files(photo)
    expect(visitor.canvas).to_have_js_property("width", 90)
    visitor.expect_state("done")


def test_photo_is_taken_with_the_webcam(visit):
    """By Chromium's own test camera, whose picture is green, as squares are."""
    visitor = visit()
    visitor.page.get_by_role("button", name="Capture from camera").click()
    visitor.page.get_by_role("button", name="Upload file").click()  # nothing lies over it
    visitor.page.get_by_role("button", name="Capture from camera").click()
    visitor.page.get_by_text("Click to Access Webcam").click()
    video = visitor.page.locator("#photo video")
    expect(video).to_have_js_property("readyState", 4)  # before, there is no picture to take
    width, height = video.evaluate("video => [video.videoWidth, video.videoHeight]")
    visitor.page.get_by_role("button", name="capture photo").click()
    expect(visitor.canvas).to_have_attribute("aria-label", re.compile("segments: square (9|100)"))
    visitor.expect_state("done")
    box = visitor.canvas.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.01)


def test_second_photo_replaces_one_that_is_still_waiting(visit, served, gate):
    visitor, first, second = visit(), scene(31), scene(32, (120, 160))
    visitor.upload(first, "busy")
    visitor.upload(second, "busy")
    gate.set()
    visitor.expect_state("done")
    visitor.page.wait_for_timeout(500)  # for the first one, were it still to come
    found = served.segmenter(second)
    visitor.expect_pixels(blend(second, found, painted(found, 0.6)))


def test_a_bad_photo_leaves_the_one_that_was_chosen_after_it(visit, served, gate, monkeypatch):
    visitor, last, go, opened = visit(), scene(38), threading.Event(), Given.decode

    def wait(given: Given, longest: int) -> tuple[Image.Image, bool]:
        go.wait(60)
        return opened(given, longest)

    monkeypatch.setattr(Given, "decode", wait)
    visitor.upload_bytes("bad.jpg", b"no photo", "busy")
    visitor.upload(last, "busy")
    gate.set()
    go.set()
    visitor.expect_state("done")
    found = served.segmenter(last)
    visitor.expect_pixels(blend(last, found, painted(found, 0.6)))
    visitor.page.wait_for_timeout(500)
    visitor.expect_state("done")


def test_run_is_cancelled_and_the_page_ready_for_the_next(visit, served, gate):
    visitor, photo = visit(), scene(33)
    visitor.upload(photo, "busy")
    visitor.figure.get_by_role("button", name="Cancel").click()
    visitor.expect_state("failed")
    expect(visitor.status).to_contain_text("Cancelled")
    expect(visitor.figure.locator(".fcn-stage")).to_be_focused()  # not lost with the button
    gate.set()
    visitor.page.wait_for_timeout(500)
    visitor.expect_state("failed")  # the result that nobody wants any more is not shown
    visitor.upload(photo)
    found = served.segmenter(photo)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))


def test_photo_that_a_reload_loses_is_told(visit, gate):
    visitor = visit()
    visitor.upload(scene(44), "busy")
    visitor.page.reload()
    visitor.errors.clear()  # Gradio's own, about the run
    gate.set()
    visitor.expect_state("failed")
    expect(visitor.status).to_have_text("The page was reloaded: choose the photo again.")
    visitor.upload(scene(44))
    visitor.page.locator("#photo").get_by_label(re.compile("Clear|Remove")).click()
    visitor.expect_state("empty")
    visitor.page.reload()
    visitor.expect_state("done")
    visitor.page.wait_for_timeout(500)
    expect(visitor.status).to_contain_text("Found")  # what was taken away stays away


@pytest.mark.parametrize("waits", [False, True], ids=["it runs", "it waits for another"])
def test_photo_that_is_taken_away_does_not_come_back(visit, gate, waits):
    visitor = visit()
    visitor.upload(scene(37), "busy")
    if waits:
        visitor.upload(scene(38), "busy")
    visitor.page.locator("#photo").get_by_label(re.compile("Clear|Remove")).click()
    visitor.expect_state("empty")
    gate.set()
    visitor.page.wait_for_timeout(1000)
    visitor.expect_state("empty")
    expect(visitor.status).to_have_text("Choose a photo to see its segments.")


def test_cancelled_photo_that_waits_for_others_never_comes_to_the_network(visit, gate):
    first, second = visit(), visit()
    first.upload(scene(38, (160, 120)), "busy")
    second.upload(scene(39, (120, 160)), "busy")
    second.figure.get_by_role("button", name="Cancel").click()
    second.expect_state("failed")
    second.page.wait_for_timeout(500)
    gate.set()
    first.expect_state("done")
    first.upload(scene(40, (100, 100)))
    assert [photo.size for photo in gate.seen] == [(160, 120), (100, 100)]


def test_crash_leaves_one_sentence_and_no_overlay(visit, monkeypatch):
    visitor = visit()

    def crash(*given: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Segmenter, "__call__", crash)
        visitor.upload(scene(34), "failed")
        expect(visitor.status).to_have_text("The photo could not be segmented. Please try again.")
        expect(visitor.canvas).to_be_hidden()
        visitor.page.wait_for_timeout(500)  # until the input has let go of it
    visitor.upload(scene(34))  # the same again


def jpeg(photo: Image.Image, **options: object) -> bytes:
    written = io.BytesIO()
    photo.save(written, "JPEG", **options)
    return written.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    return jpeg(scene(1, (160, 120)), exif=exif)


def tiff() -> bytes:
    written = io.BytesIO()
    scene(4).save(written, "TIFF")
    return written.getvalue()


def gif() -> bytes:
    written = io.BytesIO()
    frames = [scene(seed, (160, 120)).quantize() for seed in (1, 2)]
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:])
    return written.getvalue()


def bomb(side: int) -> bytes:
    """A small file that says it holds a picture of side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


PICTURES = {
    "turned.jpg": (turned, (120, 160)),
    "transparent.png": (lambda: png(Image.new("RGBA", (60, 40), (255, 0, 0, 0))), (60, 40)),
    "deep.png": (lambda: png(Image.new("I;16", (60, 40), 30_000)), (60, 40)),
    "print.jpg": (lambda: jpeg(scene(2).convert("CMYK")), (160, 120)),
    "moving.gif": (gif, (160, 120)),
    "scan.tif": (tiff, (160, 120)),
    "thin.png": (lambda: png(Image.new("RGB", (4000, 1))), (1600, 1)),
    "dot.png": (lambda: png(Image.new("RGB", (1, 1))), (1, 1)),
}
REFUSED = {
    "words.jpg": (b"not a photo at all", "words.jpg is not a photo that can be read"),
    "empty.png": (b"", "empty.png is empty"),
    "cut.jpg": (jpeg(scene(3))[:600], "cut.jpg is damaged or cut short"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "phone.heic is HEIC: export as JPEG"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg is SVG"),
    "large.png": (bomb(13_000), "large.png is 13000 x 13000 pixels, more than 40 megapixels"),
    "larger.png": (bomb(20_000), "larger.png is larger than 40 megapixels"),
    "<b>${1+1}.jpg": (b"no photo", "<b>${1+1}.jpg is not a photo"),
}


@pytest.mark.parametrize("options", [{}, {"icc_profile": SRGB}])
def test_plain_jpeg_is_shown_from_the_very_upload(visit, options):
    visitor, content = visit(), jpeg(scene(41), **options)
    visitor.requests.clear()
    visitor.upload_bytes("plain.jpg", content, "done")
    files = [url.rpartition("/")[2] for url in visitor.requests if "/file=" in url]
    assert sorted(files) == ["mask.zlib", "plain.jpg", "plain.jpg"]  # Gradio's preview, and ours
    visitor.control("Show overlay").uncheck()
    expected = np.asarray(Image.open(io.BytesIO(content)), int)
    assert np.abs(visitor.pixels() - expected).max() <= 2


def test_a_photo_of_a_profile_is_shown_and_saved_in_the_colours_it_means(visit):
    visitor, photo = visit(), Image.new("RGB", (160, 120), (234, 51, 35))
    photo.paste((9, 99, 200), (0, 0, 80, 120))
    content = jpeg(photo, icc_profile=DISPLAY_P3, quality=100, subsampling=0)
    visitor.upload_bytes("phone.jpg", content, "done")
    visitor.control("Show overlay").uncheck()
    shown = visitor.page.evaluate(
        """async (content) => {
            const file = await createImageBitmap(new Blob([new Uint8Array(content)]));
            const pen = new OffscreenCanvas(file.width, file.height).getContext('2d');
            pen.drawImage(file, 0, 0);
            return [...pen.getImageData(0, 0, file.width, file.height).data];
        }""",
        list(content),
    )
    by_browser = np.array(shown).reshape(120, 160, 4)[..., :3]
    assert np.abs(visitor.pixels() - by_browser).max() <= 3
    assert np.abs(visitor.pixels()[60, 120].astype(int) - (255, 0, 0)).max() <= 3
    _, saved = visitor.download("Save overlay as PNG")
    with Image.open(io.BytesIO(saved)) as overlay:
        assert "icc_profile" not in overlay.info
        np.testing.assert_array_equal(np.asarray(overlay.convert("RGB")), visitor.pixels())


def test_every_kind_of_picture_is_shown(visit):
    visitor = visit()
    for name, (make, size) in PICTURES.items():
        visitor.upload_bytes(name, make(), "done")
        width, height = visitor.canvas.evaluate("canvas => [canvas.width, canvas.height]")
        assert (width, height) == size, name
        expect(visitor.figure.locator("tbody tr")).not_to_have_count(0)
        can_show = name != "scan.tif"  # and there is no torn picture in its place
        expect(visitor.page.locator("#photo img")).to_have_css("opacity", str(int(can_show)))
    visitor.control("Show overlay").uncheck()
    visitor.upload_bytes("transparent.png", PICTURES["transparent.png"][0](), "done")
    assert (visitor.pixels() == 255).all()  # transparency lies on white
    visitor.upload_bytes("deep.png", PICTURES["deep.png"][0](), "done")
    assert (visitor.pixels() == round(30_000 / 257)).all()  # 16 bits are scaled, not clipped


def test_every_bad_file_gives_one_sentence_and_the_page_goes_on(visit):
    visitor = visit()
    for name, (content, sentence) in REFUSED.items():
        visitor.upload_bytes(name, content, "failed")
        expect(visitor.status).to_contain_text(sentence)
        expect(visitor.canvas).to_be_hidden()
        expect(visitor.figure.locator("tbody tr")).to_have_count(0)
    forget_previews(visitor)
    photo = scene(35)
    visitor.upload(photo)
    visitor.control("Show overlay").uncheck()
    visitor.expect_pixels(np.asarray(photo))


def test_escape_after_a_bad_photo_brings_nothing_back(visit, served):
    visitor, photo = visit(), scene(36)
    visitor.upload(scene(35))
    visitor.figure.get_by_role("button", name="square", exact=True).click()
    visitor.upload_bytes("words.jpg", b"no photo", "failed")
    visitor.page.wait_for_timeout(500)  # until the input has let go of it
    visitor.page.locator("body").press("Escape")
    visitor.expect_state("failed")
    expect(visitor.status).to_contain_text("words.jpg is not a photo")
    expect(visitor.figure.get_by_role("progressbar")).to_be_hidden()
    expect(visitor.canvas).to_be_hidden()
    expect(visitor.figure.locator("tbody tr")).to_have_count(0)
    forget_previews(visitor)
    visitor.upload(photo)
    found = served.segmenter(photo)
    visitor.expect_pixels(blend(photo, found, painted(found, 0.6)))  # all classes again
    expect(visitor.figure.locator("tr.is-out")).to_have_count(0)


def forget_previews(visitor: Visitor) -> None:
    """Gradio's own preview could not read those files either, which the browser calls an error."""
    unread = re.compile("Failed to load resource|ERR_")
    visitor.errors = [one for one in visitor.errors if not unread.search(one)]
