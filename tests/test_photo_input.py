"""What an upload turns into, and which files a browser may name."""

from base64 import b64encode
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image

from fcn.demo.photo_input import Given, offer, sent
from fcn.photo import PhotoError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of uploads, with a photo."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    assert Path(get_upload_folder()) == uploads
    Image.new("RGB", (20, 10)).save(uploads / "photo.png")
    return uploads


def test_upload_keeps_its_name_and_path(folder):
    path = str(folder / "photo.png")
    given = Given.of({"path": path, "orig_name": "My holiday.png"})
    assert (given.name, given.stem, given.path) == ("My holiday.png", "My holiday", path)
    assert (given.open().size, given.open(10).size) == ((20, 10), (10, 5))


def test_an_upload_may_be_in_base64(folder):
    content = b64encode((folder / "photo.png").read_bytes()).decode()
    given = Given.of({"path": None, "url": f"data:image/png;base64,{content}"})
    assert given.open().size == (20, 10)
    assert is_in_or_equal(given.path, folder)  # where what visitors left is deleted


@pytest.mark.parametrize("url", [None, "http://127.0.0.1/photo.png", "data:image/png;base64,x"])
def test_no_upload_is_an_error_to_be_told(folder, url: str | None):
    with pytest.raises(PhotoError, match="There is no photo"):
        Given.of({"path": None, "url": url} if url else None).open()


def test_bad_upload_is_an_error_that_names_the_file(folder):
    (folder / "bad.png").write_bytes(b"nothing")
    value = {"path": str(folder / "bad.png"), "orig_name": "holiday.png"}
    with pytest.raises(PhotoError, match="holiday.png is not a photo"):
        Given.of(value).open()


def test_only_uploads_may_be_named_by_a_browser(folder, tmp_path):
    assert sent("photo", str(folder / "photo.png")).open().size == (20, 10)
    Image.new("RGB", (20, 10)).save(tmp_path / "mine.png")
    up = f"{folder}/../mine.png"
    swept = str(folder / "swept.png")
    for path in (str(tmp_path / "mine.png"), up, swept, None, 5, {"path": "x"}):
        with pytest.raises(PhotoError, match="upload it again"):
            sent("photo", path)
        if isinstance(path, str):
            with pytest.raises(PhotoError, match="upload it again"):
                Given.of({"path": path, "orig_name": "photo.png"}).open()


def test_a_file_is_offered_beside_the_uploads():
    one, same = offer(b"content", "a.png"), offer(b"content", "a.png")
    assert Path(one["path"]).read_bytes() == b"content"
    assert one["path"] != same["path"]  # neither is written while the other is sent
    assert is_in_or_equal(one["path"], get_upload_folder())
