"""Take the README's picture of the page: ``python -m docs.picture``.

The page as ``python app.py`` serves it, with a portrait that comes with matplotlib, in headless
Chromium (``CHROMIUM`` names another than the one on the path).
"""

import argparse
import os
import shutil
from pathlib import Path

import matplotlib
from playwright.sync_api import expect, sync_playwright

from fcn.demo.page import build_page, launch_options
from fcn.segmenter import Segmenter

PICTURE = Path(__file__).with_name("page.jpg")
MODELS = ("checkpoints/animals", "checkpoints/street")
PHOTO = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
SIZE = (1280, 730)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def take(url: str, file: Path) -> None:
    """Upload the photo to the page, and write what a visitor sees then."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(url)
        figure, photo = page.locator("#viewer figure"), page.locator("#photo")
        expect(figure).to_have_attribute("data-state", "done", timeout=60_000)
        # The page opens with a photo; the mark tells that one from the uploaded one.
        figure.evaluate("figure => figure.dataset.state = 'before'")
        photo.locator("input[type=file]").set_input_files(PHOTO)
        expect(figure).to_have_attribute("data-state", "done", timeout=60_000)
        expect(photo.locator("img").first).to_have_js_property("complete", True)
        page.wait_for_timeout(1000)  # until nothing moves any more
        page.screenshot(path=file, type="jpeg", quality=90)
        browser.close()


def main() -> None:
    """Serve the page for as long as the picture takes."""
    parser = argparse.ArgumentParser(description="Take the README's picture of the page.")
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE, help="default: %(default)s")
    file = parser.parse_args().file
    page = build_page([Segmenter.load(model) for model in MODELS])
    _, url, _ = page.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    take(url, file)
    page.close(verbose=False)


if __name__ == "__main__":
    main()
