"""The process that opens what visitors send, and files that would take all memory or all time."""

import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
from PIL import Image

from fcn.demo.decoder import Decoder
from fcn.photo import PhotoError, open_photo


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    """One with time enough, however busy the machine is."""
    decoder = Decoder(seconds=60)
    yield decoder
    assert decoder._process is not None
    decoder._process.kill()
    decoder._process.wait()


def photo_file(folder: Path) -> Path:
    Image.effect_noise((90, 60), 80).convert("RGB").save(folder / "photo.jpg", quality=90)
    return folder / "photo.jpg"


def test_it_gives_what_open_photo_gives(decoder, tmp_path, monkeypatch):
    file = photo_file(tmp_path)
    photo, is_alike = decoder(file, "my photo", 90)
    np.testing.assert_array_equal(np.asarray(photo), np.asarray(open_photo(file)))
    assert photo.mode == "RGB" and is_alike
    monkeypatch.chdir(tmp_path)
    photo, is_alike = decoder("photo.jpg", "my photo", 30)
    np.testing.assert_array_equal(np.asarray(photo), np.asarray(open_photo(file, longest=30)))
    assert photo.size == (30, 20) and not is_alike


def test_it_finds_packages_where_the_host_has_them(decoder, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'found')!r}, 'w')")
    assert decoder(photo_file(tmp_path), "x")[0].size == (90, 60)
    assert (tmp_path / "found").exists()


def test_what_is_no_photo_is_told_by_its_name_and_the_process_goes_on(decoder, tmp_path):
    file = photo_file(tmp_path)
    decoder(file, "x")
    process = decoder._process
    (tmp_path / "no.png").write_bytes(b"nothing")
    with pytest.raises(PhotoError, match="^müll.png is not a photo that can be read"):
        decoder(tmp_path / "no.png", "müll.png")
    assert decoder(file, "x")[0].size == (90, 60)
    assert decoder._process is process


def greedy() -> bytes:
    """A BMP of one row of 40 million pixels that skips 255 rows: 10 GB of zeros for Pillow."""
    palette, rows = bytes(1024), b"\0\2\0\xff\0\1"
    start = 54 + len(palette)
    sizes = struct.pack("<IHHI", start + len(rows), 0, 0, start)
    header = struct.pack("<IiiHHIIiiII", 40, 40_000_000, 1, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + sizes + header + palette + rows


COMMENTS = b"P3 8 8 255\n" + b"#\n" * 5_000_000  # which take minutes to read


@pytest.mark.parametrize(
    ("content", "limit", "least"), [(greedy(), 60, 0), (COMMENTS, 3, 3)], ids=["memory", "time"]
)
def test_a_file_that_takes_too_much_is_told_and_the_next_photo_is_opened(
    decoder, tmp_path, content, limit, least
):
    file, usual = photo_file(tmp_path), decoder._seconds
    decoder(file, "x")
    decoder._seconds = limit
    (tmp_path / "bomb").write_bytes(content)
    start = time.monotonic()
    with pytest.raises(PhotoError, match="^bomb.bmp takes too much memory or time to open"):
        decoder(tmp_path / "bomb", "bomb.bmp")
    assert least <= time.monotonic() - start < 30
    decoder._seconds = usual
    assert decoder(file, "x")[0].size == (90, 60)


def test_an_answer_that_was_read_by_half_is_not_taken_for_the_next(decoder, tmp_path, monkeypatch):
    file = photo_file(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(Image, "frombytes", Mock(side_effect=MemoryError))
        decoder(file, "x")
    assert decoder(file, "x")[0].size == (90, 60)
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr("fcn.demo.decoder.json.loads", Mock(side_effect=MemoryError))
        decoder(file, "x")
    assert decoder(file, "x", 30)[0].size == (30, 20)


def test_it_does_not_outlive_who_asked_by_more_than_its_time(tmp_path):
    (tmp_path / "bomb").write_bytes(COMMENTS)
    asked = (
        "from fcn.demo.decoder import Decoder; d = Decoder(1); print(d.start().pid, flush=True);"
    )
    command = [sys.executable, "-c", f"{asked} d._seconds = 60; d('{tmp_path}/bomb', 'bomb')"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(2)  # until it is in it
        parent.kill()
    child.wait(20)


def test_a_process_that_was_killed_meanwhile_is_replaced(decoder, tmp_path):
    file = photo_file(tmp_path)
    decoder(file, "x")
    decoder._process.kill()
    decoder._process.wait()
    assert decoder(file, "x")[0].size == (90, 60)
