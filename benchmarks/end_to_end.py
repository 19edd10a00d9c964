"""How long visitors wait: ``python benchmarks/end_to_end.py``.

Starts ``app.py`` and asks it from outside. ``page-ready`` goes from the start of the process to the
page; ``painted`` from the choice of a file in headless Chromium to the painted overlay;
``/segment`` from a file to labels, overlay and summary at the photo's own size, by Gradio's client.
At last many large photos, to see whether memory grows. The convention: photos are JPEG files, and
memory is that of the app and of the process in which it opens photos; their peaks are added up,
though they need not have been at once.
"""

import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from gradio_client import Client, handle_file
from measuring import ROOT, build_parser, draw_chart, draw_photo, memory, report, summarise
from page import FLAGS, UPLOAD
from playwright.sync_api import sync_playwright

PHOTOS = ((640, 480), (1632, 1224), (4000, 3000))
PATIENCE = 120  # seconds for the app to start
Ask = Callable[[Path], float]  # seconds that the answer to a file takes


@contextmanager
def served(model: Path, folder: Path) -> Iterator[tuple[str, int, float]]:
    """Run ``app.py``; its address, its process id, and the seconds until the page was there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {"GRADIO_SERVER_PORT": port, "GRADIO_TEMP_DIR": str(folder)}
    command = [sys.executable, "app.py", "--model", str(model.resolve())]
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL
    ) as app:
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for(url, app, start + PATIENCE)
            yield url, app.pid, time.perf_counter() - start
        finally:
            app.terminate()


def find_processes(process: int) -> list[psutil.Process]:
    """A process and those that it started: the page opens photos in one of its own."""
    first = psutil.Process(process)
    return [first, *first.children(recursive=True)]


def wait_for(url: str, app: "subprocess.Popen[bytes]", deadline: float) -> None:
    """Ask for a page until it comes."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as page:
                page.read()
                return
        except OSError as error:
            if app.poll() is not None or time.perf_counter() > deadline:
                raise SystemExit("app.py did not start.") from error
            time.sleep(0.05)


@contextmanager
def browsed(url: str) -> Iterator[Ask]:
    """A function that gives a file to the page in Chromium and waits for the overlay."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_selector("footer")
        page.wait_for_timeout(3000)  # until all is there

        def ask(file: Path) -> float:
            # The page tells its own time: a file that a visitor chooses need not be brought to it.
            content = base64.b64encode(file.read_bytes()).decode()
            return page.evaluate(UPLOAD, [file.name, content]) / 1000

        yield ask
        browser.close()


def ask_by_client(client: Client, file: Path) -> float:
    """Seconds from a file to its answer by ``/segment``."""
    start = time.perf_counter()
    client.predict(handle_file(file), api_name="/segment")
    return time.perf_counter() - start


def draw_files(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Different JPEG files of a size."""
    files = [folder / "{}x{}-{}.jpg".format(*size, number) for number in range(count)]
    for seed, file in enumerate(files):
        draw_photo(*size, seed).save(file, quality=92)
    return files


def measure(model: Path, repeats: int, many: int, folder: Path) -> list[dict[str, Any]]:
    """All rows of the table."""
    rows = []

    def add(name: str, size: tuple[int, int], seconds: list[float], process: int) -> None:
        parts = [memory(one.pid) for one in find_processes(process)]
        now, most = map(sum, zip(*parts, strict=True))
        row = summarise(name, "{}x{}".format(*size), seconds, memory_mb=now, peak_mb=most)
        rows.append(row)

    starts = []
    for _ in range(repeats):
        with served(model, folder) as (_, process, seconds):
            starts.append(seconds)
    largest = PHOTOS[-1]
    with served(model, folder) as (url, process, seconds):
        add("page-ready", (1280, 720), [*starts, seconds], process)
        client = Client(url, verbose=False, download_files=str(folder))
        asks: dict[str, Ask] = {"/segment": partial(ask_by_client, client)}
        with browsed(url) as asks["painted"]:
            for size in PHOTOS:
                files = draw_files(folder, size, repeats + 1)  # the first one warms up
                for name in ("painted", "/segment"):
                    add(name, size, [asks[name](file) for file in files][1:], process)
    files = draw_files(folder, largest, 5)
    with served(model, folder) as (url, process, _):
        client = Client(url, verbose=False, download_files=str(folder))
        for part in range(2):
            count = many // 2
            photos = [files[number % len(files)] for number in range(count)]
            taken = [ask_by_client(client, photo) for photo in photos]
            add(f"{count * (part + 1)}-photos", largest, taken, process)
    return rows


def main() -> None:
    """Measure, print and draw."""
    parser = build_parser(__doc__, repeats=5)
    parser.add_argument("--photos", type=int, default=50, help="large ones, one after another")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args.model, args.repeats, args.photos, Path(folder))
    report(rows, args.json, checkpoint=args.model.name)
    if args.chart:
        draw_chart(rows, args.chart, "What visitors wait for")


if __name__ == "__main__":
    main()
