"""Files from the page, opened and compared with what the API gives for the same photo."""

import io
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from visiting import ByColor, blend, page_colors, painted, png, scene

from fcn.demo import rle
from fcn.demo.photo_input import NO_LINKS
from fcn.photo import MAX_MEGABYTES


@pytest.fixture(scope="module")
def client(served) -> Client:
    return Client(served.url, verbose=False)


def test_questions_have_a_limit_and_uploads_a_higher_one(served):
    long = json.dumps({"data": ["x" * 1_100_000], "fn_index": 0, "session_hash": "a"}).encode()
    headers = {"Content-Type": "application/json"}
    for path in ("queue/join", "run/segment", "call/segment", "run/upload", "call/upload"):
        with pytest.raises(HTTPError, match="413"):
            urlopen(Request(f"{served.url}gradio_api/{path}", long, headers))
    many = json.dumps({"data": [[{}] * 60_000], "fn_index": 0, "session_hash": "a"}).encode()
    with pytest.raises(HTTPError, match="413"):
        urlopen(Request(f"{served.url}gradio_api/queue/join", many, headers))
    assert len(many) < 1_000_000
    assert len(long) < len(noise := png(Image.effect_noise((1400, 1400), 90)))
    answer = httpx.post(f"{served.url}gradio_api/upload", files={"files": ("a.png", noise)})
    assert answer.status_code == 200
    field = {"data": {"text": "x" * (MAX_MEGABYTES + 2) * 2**20}}  # which is no file
    answer = httpx.post(f"{served.url}gradio_api/upload", **field, files={"files": ("a.png", b"")})
    assert (answer.status_code, "one at a time" in answer.text) == (413, True)


def test_nothing_goes_past_the_queue(served):
    asked = {"data": [None, 0.6, 8, None]}
    answer = httpx.post(f"{served.url}gradio_api/run/segment", json=asked)
    assert answer.status_code == 404 and "join the queue" in answer.text


def test_a_link_shows_nothing_that_a_stranger_sent(served):
    value = {"message": "my own words", "photo": None}
    ask_viewer(served.url, "again", [value, served.segmenter.source], session="stranger")
    link = httpx.get(f"{served.url}gradio_api/deep_link?session_hash=stranger").json()
    assert link  # the session is known
    assert "my own words" not in httpx.get(f"{served.url}?deep_link={link}").text


def test_downloads_hold_what_the_api_gives(visit, served, client, tmp_path):
    visitor, photo = visit(), scene(41, (170, 130))
    visitor.upload(photo, name="<b>My holiday 1.png")
    (tmp_path / "photo.png").write_bytes(png(photo))
    labels, _, summary = client.predict(handle_file(tmp_path / "photo.png"), api_name="/segment")
    with Image.open(labels) as ids:
        expected = np.asarray(ids)
    visitor.requests.clear()

    name, content = visitor.download("Save mask as PNG")
    assert name.endswith(".png") and "My holiday" in name and "<" not in name
    mask = Image.open(io.BytesIO(content))
    assert (mask.format, mask.mode) == ("PNG", "P")
    np.testing.assert_array_equal(np.asarray(mask), expected)
    found = served.segmenter(photo)
    shown = np.array(page_colors(found), np.uint8)[expected]
    np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), shown)

    name, content = visitor.download("Save summary as JSON")
    assert name.endswith(".json")
    saved = json.loads(content)
    assert saved["size"] == list(photo.size)
    assert saved["weights"] == summary["weights"]
    masks = rle.encode(expected)
    assert [one.pop("rle") for one in saved["classes"]] == [
        masks[one["id"]] for one in summary["classes"]
    ]
    for one, same in zip(saved["classes"], summary["classes"], strict=True):
        assert one.pop("color") and same.pop("color")  # the page's colours, and the API's
        assert one == same
    assert visitor.asked() == []


def test_overlay_is_saved_as_it_is_seen(visit, served):
    visitor, photo = visit(), scene(42)
    found = served.segmenter(photo)
    visitor.upload(photo, name="street.jpeg.png")
    visitor.control("Overlay opacity").fill("0.9")
    visitor.control("square opacity").fill("0.3")
    name, content = visitor.download("Save overlay as PNG")
    assert name == "street.jpeg_overlay.png"
    alphas = {**painted(found, 0.9), "square": 0.9 * 0.3}
    saved = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(saved, blend(photo, found, alphas))
    visitor.choose("View", "Colours")
    visitor.figure.get_by_role("button", name="triangle", exact=True).click()
    _, content = visitor.download("Save overlay as PNG")
    saved = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(saved, visitor.pixels())
    ground = np.zeros((*found.labels.shape, 3))
    np.testing.assert_array_equal(saved, blend(ground, found, {"triangle": 1.0}))


def test_api_answers_at_the_photos_size(served, client, tmp_path):
    photo = scene(43, (1800, 300))
    photo.save(tmp_path / "photo.png")
    labels, overlay, summary = client.predict(
        handle_file(tmp_path / "photo.png"), api_name="/segment"
    )
    with Image.open(labels) as ids, Image.open(overlay) as shown:
        assert (ids.mode, ids.size, shown.size) == ("P", photo.size, photo.size)
        np.testing.assert_array_equal(np.asarray(ids), served.segmenter(photo).labels)
    assert sum(one["share"] for one in summary["classes"]) == pytest.approx(1)
    assert {one["id"] for one in summary["classes"]} <= set(range(len(ByColor.config["classes"])))
    assert summary["size"] == [1800, 300]


def test_api_refuses_a_bad_file_in_one_sentence(client, tmp_path):
    file = tmp_path / "broken.jpg"
    file.write_bytes(b"not a photo at all")
    with pytest.raises(AppError, match="broken.jpg is not a photo"):
        client.predict(handle_file(file), 0.6, 8, api_name="/segment")


@dataclass
class Drip:
    """A photo elsewhere that comes by the byte, and for whom it was asked."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def drip(monkeypatch) -> Iterator[Drip]:
    # Elsewhere, for a test, is here, where Gradio fetches nothing from.
    monkeypatch.setattr("safehttpx.is_public_ip", lambda ip: True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "30")
            self.end_headers()
            for _ in range(30):
                time.sleep(0.1)
                self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        given = Drip(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield given
        server.shutdown()


def test_api_fetches_no_link(client, drip):
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(f"{drip.url}/api.jpg"), api_name="/segment")
    assert (caught.value.message, drip.asked) == (NO_LINKS, [])


def ask_viewer(url: str, event: str, data: list[object], session: str = "") -> dict[str, object]:
    """The output of one of the viewer's own events, for what a program sends in its place."""
    config = httpx.get(f"{url}config").json()
    (viewer,) = [
        one["id"] for one in config["components"] if one["props"].get("elem_id") == "viewer"
    ]
    (number,) = [one["id"] for one in config["dependencies"] if [viewer, event] in one["targets"]]
    session = session or secrets.token_hex(8)
    question = {"data": data, "fn_index": number, "session_hash": session}
    httpx.post(f"{url}gradio_api/queue/join", json=question).raise_for_status()
    told = httpx.get(f"{url}gradio_api/queue/data?session_hash={session}", timeout=60).text
    (done,) = [line for line in told.splitlines() if "process_completed" in line]
    return json.loads(done.removeprefix("data: "))["output"]


def test_events_of_the_page_fetch_no_link(served, drip):
    link = {"path": f"{drip.url}/page.jpg", "meta": {"_type": "gradio.FileData"}}
    value = {"photo": link, "name": "page", "weights": served.segmenter.source}
    assert ask_viewer(served.url, "strides", [value])["error"] == NO_LINKS
    assert drip.asked == []


@pytest.mark.parametrize("name", ["private.png", "pipe"])
def test_no_file_of_the_host_is_opened(served, tmp_path, name):
    scene(44).save(tmp_path / "private.png")
    os.mkfifo(tmp_path / "pipe")  # reading it would not end
    file = {"path": str(tmp_path / name)}  # without the mark by which Gradio knows a file
    refusal = f"{name} is not here any more: upload it again."
    (answer,) = ask_viewer(served.url, "segment", [file, served.segmenter.source])["data"]
    assert (answer["state"], answer["message"]) == ("failed", refusal)
    assert "photo" not in answer
    api = f"{served.url}gradio_api/call/segment"
    asked = httpx.post(api, json={"data": [file, 0, 8, None]}).json()
    told = httpx.get(f"{api}/{asked['event_id']}", timeout=60).text
    assert told.startswith("event: error") and refusal in told


def test_server_passes_nothing_on_from_elsewhere(served, drip):
    answer = httpx.get(f"{served.url}gradio_api/file={drip.url}/page.jpg")
    assert (answer.status_code, drip.asked) == (403, [])


def test_api_has_one_documented_endpoint(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(endpoints) == ["/segment"]
    parameters = endpoints["/segment"]["parameters"]
    names = [one["parameter_name"] for one in parameters]
    assert names == ["photo", "opacity", "stride", "network"]
    assert [one["parameter_has_default"] for one in parameters] == [False, True, True, True]
