"""Photos: every kind of file a stranger may hand over ends as clean RGB or as one sentence."""

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from profiles import ADOBE_RGB, DISPLAY_P3, SRGB, of_grey, of_press, of_screen

from fcn.photo import MAX_PIXELS, PhotoError, is_shown_alike, open_photo, photos_in

# A screen without a gamma.
LINEAR = of_screen(1, (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
GRADIENT = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encode(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    """An image as a file in memory."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def mean(photo: Image.Image) -> float:
    """Mean value, to tell a picture from a white or black one."""
    assert photo.mode == "RGB"
    return float(np.asarray(photo).mean())


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("kind", "mode", "longest", "options", "alike"),
    [
        ("JPEG", "RGB", 16, {}, True),
        ("JPEG", "L", 16, {}, True),
        ("JPEG", "RGB", 15, {}, False),  # it is scaled down
        ("JPEG", "CMYK", 16, {}, False),
        ("JPEG", "RGB", 16, {"exif": turned()}, False),
        ("JPEG", "RGB", 16, {"xmp": b"<x:xmpmeta/>"}, False),
        ("JPEG", "RGB", 16, {"icc_profile": SRGB}, True),
        ("JPEG", "L", 16, {"icc_profile": SRGB}, True),
        ("JPEG", "RGB", 16, {"icc_profile": DISPLAY_P3}, False),
        ("JPEG", "L", 16, {"icc_profile": of_grey(1.8)}, False),
        ("JPEG", "RGB", 16, {"icc_profile": b"no profile"}, True),  # we leave it aside, as they do
        ("PNG", "RGB", 16, {}, False),
        ("TIFF", "RGB", 16, {}, False),
    ],
)
def test_what_browsers_show_as_we_do(tmp_path, kind, mode, longest, options, alike):
    Image.fromarray(GRADIENT).convert(mode).save(tmp_path / "photo", kind, **options)
    assert is_shown_alike(tmp_path / "photo", longest) == alike


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_modes_become_rgb(mode: str):
    image = Image.fromarray(np.stack([GRADIENT] * 3, 2)).convert(mode)
    assert mean(open_photo(image)) == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("AVIF", "RGB"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "CMYK"),
        ("PPM", "RGB"),
    ],
)
def test_formats_are_read(kind: str, mode: str):
    image = Image.fromarray(np.stack([GRADIENT] * 3, 2)).resize((64, 64)).convert(mode)
    photo = open_photo(encode(image, kind))
    assert photo.size == (64, 64)
    assert mean(photo) == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize(
    ("kind", "mode", "color", "profile", "shown"),
    [
        # As Chromium shows them.
        ("JPEG", "RGB", (234, 51, 35), DISPLAY_P3, (255, 0, 0)),
        ("WEBP", "RGB", (234, 51, 35), DISPLAY_P3, (255, 0, 0)),
        ("TIFF", "RGB", (234, 51, 35), DISPLAY_P3, (255, 0, 0)),
        ("PNG", "P", (234, 51, 35), DISPLAY_P3, (255, 0, 0)),
        ("JPEG", "RGB", (234, 51, 35), ADOBE_RGB, (255, 48, 29)),
        ("JPEG", "RGB", (234, 51, 35), SRGB, (234, 51, 35)),
        ("JPEG", "L", (100,), of_grey(1.0), (168, 168, 168)),
        ("PNG", "LA", (100, 255), of_grey(1.0), (168, 168, 168)),
        ("JPEG", "L", (100,), LINEAR, (168, 168, 168)),
        ("JPEG", "CMYK", (255, 0, 0, 0), of_press(), (251, 0, 8)),
        # What does not belong to such a picture.
        ("JPEG", "RGB", (234, 51, 35), of_grey(1.0), (234, 51, 35)),
        ("JPEG", "RGB", (234, 51, 35), of_press(), (234, 51, 35)),
        ("JPEG", "CMYK", (255, 0, 0, 0), DISPLAY_P3, (0, 255, 255)),
        ("JPEG", "RGB", (234, 51, 35), b"no profile", (234, 51, 35)),
        ("JPEG", "RGB", (234, 51, 35), DISPLAY_P3[:200], (234, 51, 35)),
    ],
)
def test_profiles_say_which_colours_are_meant(kind, mode, color, profile, shown):
    image = Image.new("RGB" if mode == "P" else mode, (64, 48), color)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    file = encode(image.convert(mode), kind, icc_profile=profile, **options)
    for longest in (0, 16):
        photo = open_photo(file, longest=longest)
        assert photo.mode == "RGB" and photo.size == ((64, 48), (16, 12))[longest > 0]
        np.testing.assert_allclose(photo.getpixel((8, 8)), shown, atol=4)
        assert "icc_profile" not in photo.info  # it is that of other colours


def test_a_profile_of_16_bits_is_heeded():
    image = Image.fromarray(np.full((2, 2), 100 * 257, np.uint16))
    assert open_photo(encode(image, "PNG", icc_profile=of_grey(1.0))).getpixel((0, 0))[0] == 168


def test_transparency_lies_on_white_after_colours_are_converted():
    image = Image.new("RGBA", (64, 1), (234, 51, 35, 128))
    image.paste((9, 99, 9, 0), (32, 0, 64, 1))
    file = encode(image, "PNG", icc_profile=DISPLAY_P3)
    for photo in (open_photo(file), open_photo(file, longest=32)):
        left, right = (photo.getpixel((at, 0)) for at in (2, photo.width - 3))
        assert (left, right) == ((255, 127, 127), (255, 255, 255))


@pytest.mark.parametrize("longest", [0, 100])
def test_a_converted_photo_is_that_of_the_same_colours(longest):
    """Colours that both spaces have: what was converted from sRGB comes back."""
    photo = gradient(300, 200)
    p3 = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
    stored = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), p3)
    found = open_photo(encode(stored, "PNG", icc_profile=DISPLAY_P3), longest=longest)
    expected = open_photo(photo, longest=longest)
    assert np.abs(np.asarray(found, int) - np.asarray(expected)).mean() < 1
    assert np.abs(np.asarray(stored, int) - np.asarray(photo)).mean() > 5


@settings(max_examples=50, deadline=None)
@given(
    mode=st.sampled_from(["RGB", "CMYK"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_profiles_cost_no_photo(mode: str, changes: list[tuple[int, int]]):
    profile = bytearray(DISPLAY_P3 if mode == "RGB" else of_press())
    for place, value in changes:
        profile[place % len(profile)] = value
    image = Image.new(mode, (2, 2))
    image.info["icc_profile"] = bytes(profile)
    assert open_photo(image).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_hidden_colors_do_not_show(kind: str):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    photo = open_photo(encode(image, kind, **({"exact": True} if kind == "WEBP" else {})))
    assert photo.getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_is_half_white():
    assert open_photo(Image.new("RGBA", (1, 1), (255, 0, 0, 128))).getpixel((0, 0)) == (
        255,
        127,
        127,
    )
    assert open_photo(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_transparent_colors_of_palettes_are_white():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    photo = open_photo(encode(image, "PNG", transparency=0))
    assert [photo.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 255)]
    grey = open_photo(encode(Image.new("L", (1, 1), 7), "PNG", transparency=7))
    assert grey.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(kind: str):
    image = Image.fromarray(GRADIENT.astype(np.uint16) * 257)
    photo = open_photo(encode(image, kind))
    assert (np.asarray(photo)[..., 0] == GRADIENT).all()


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0, 1e6])
def test_floats_are_scaled(white: float):
    values = GRADIENT.astype(np.float32) / 255 * white
    values[0, 0] = np.nan
    photo = open_photo(encode(Image.fromarray(values), "TIFF"))
    assert np.abs(np.asarray(photo)[..., 0].astype(int) - GRADIENT).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_a_black_picture_stays_black(mode: str):
    assert mean(open_photo(Image.new(mode, (3, 3)))) == 0


def test_animations_give_their_first_picture():
    frames = [Image.new("RGB", (5, 4), color) for color in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        file = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        red, green, blue = open_photo(file).getpixel((2, 2))
        assert red > 240 and green < 20 and blue < 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_turns_the_photo(kind: str):
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the white left half comes to the top
    photo = open_photo(encode(image, kind, exif=exif))
    assert photo.size == (16, 32)
    assert photo.getpixel((8, 4))[0] > 240 and photo.getpixel((8, 28))[0] < 15


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_photo():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(40))
    assert open_photo(encode(Image.new("RGB", (8, 8)), "JPEG", exif=exif)).size == (8, 8)


def test_a_given_picture_is_not_changed():
    image = Image.new("RGBA", (2, 2), (1, 2, 3, 4))
    photo = open_photo(image)
    photo.putpixel((0, 0), (9, 9, 9))
    assert image.mode == "RGBA" and image.getpixel((0, 0)) == (1, 2, 3, 4)
    plain = Image.new("RGB", (2, 2))
    assert open_photo(plain) is not plain


def gradient(width: int, height: int) -> Image.Image:
    """A photo-like picture of smooth colours."""
    corners = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "wanted"), [((900, 600), (200, 133)), ((60, 640), (19, 200))])
def test_a_photo_is_scaled_down_to_its_longer_side(kind: str, size, wanted):
    file = encode(gradient(*size), kind)
    small = open_photo(file, longest=200)
    assert small.size == wanted
    exact = open_photo(file).resize(wanted, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(small, float) - np.asarray(exact)).mean() < 1.5
    assert open_photo(file, longest=2000).size == size
    assert open_photo(open_photo(file), longest=200).size == wanted


def test_a_line_is_scaled_down_too():
    for size, wanted in (((10000, 1), (100, 1)), ((1, 10000), (1, 100)), ((1, 1), (1, 1))):
        assert open_photo(encode(Image.new("RGB", size), "JPEG"), longest=100).size == wanted


def test_a_turned_photo_is_scaled_down_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    file = encode(gradient(800, 400), "JPEG", exif=exif)
    assert open_photo(file, longest=100).size == (50, 100)


def test_a_large_jpeg_is_decoded_at_a_fraction():
    file = encode(gradient(3000, 2000), "JPEG")
    seconds = []
    for longest in (0, 375):
        start = time.thread_time()
        open_photo(file, longest=longest)
        seconds.append(time.thread_time() - start)
    assert seconds[1] < 0.7 * seconds[0]


def test_hostile_files_are_refused_when_scaled_down_too(tmp_path: Path):
    content = encode(gradient(1000, 1000), "JPEG").getvalue()
    with pytest.raises(PhotoError, match="damaged"):
        open_photo(io.BytesIO(content[: len(content) // 2]), longest=100)
    with pytest.raises(PhotoError, match="megapixels"):
        open_photo(io.BytesIO(png_header(13000, 3100)), longest=100)


def test_names_do_not_matter(tmp_path: Path):
    Image.new("RGBA", (3, 2), "red").save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.gif")
    assert open_photo(tmp_path / "x.gif").getpixel((0, 0)) == (255, 0, 0)
    assert open_photo(str(tmp_path / "x.gif")).size == (3, 2)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    data = struct.pack(">I", 99) + b"IDAT" + zlib.compress(bytes(99))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + data


HOSTILE = {
    "empty.jpg": (b"", "empty.jpg is empty"),
    "text.png": (b"hello, I am a picture", "text.png is not a photo"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC: export as JPEG"),
    "drawing.svg": (b"<?xml version='1.0'?><svg width='9'/>", "is SVG"),
    "large.png": (png_header(13000, 3100), "13000 x 3100 pixels, more than 40 megapixels"),
    "huge.png": (png_header(20000, 20000), "larger than 40 megapixels"),
    "flat.png": (png_header(0, 9), "flat.png"),
    "script.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a photo"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_sentence(name: str, tmp_path: Path):
    content, sentence = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PhotoError, match=sentence) as caught:
        open_photo(tmp_path / name)
    assert str(caught.value).startswith(name) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_truncated_files_are_refused(kind: str):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind).getvalue()
    with pytest.raises(PhotoError, match="cat.jpg is"):
        open_photo(io.BytesIO(content[: len(content) // 2]), name="cat.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded():
    bomb = encode(Image.new("1", (13000, 13000)), "PNG")
    start = time.perf_counter()
    with pytest.raises(PhotoError, match="13000 x 13000"):
        open_photo(bomb)
    assert time.perf_counter() - start < 0.2


def test_the_limit_itself_is_accepted():
    width = MAX_PIXELS // 5000
    assert open_photo(encode(Image.new("1", (width, 5000)), "PNG")).size == (width, 5000)
    with pytest.raises(PhotoError, match="more than 40"):
        open_photo(Image.new("1", (width, 5001)))


def test_what_is_not_a_file_is_told(tmp_path: Path):
    with pytest.raises(PhotoError, match="none.jpg does not exist"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="is a folder"):
        open_photo(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="pipe.jpg is a device or a pipe"):
        open_photo(tmp_path / "pipe.jpg")
    if os.geteuid():
        (tmp_path / "secret.jpg").touch(mode=0)
        with pytest.raises(PhotoError, match="cannot be read"):
            open_photo(tmp_path / "secret.jpg")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_gives_a_photo_or_a_sentence(kind: str, changes: list[tuple[int, int]]):
    content = bytearray(encode(Image.fromarray(np.stack([GRADIENT] * 3, 2)), kind).getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    try:
        assert open_photo(io.BytesIO(bytes(content))).mode == "RGB"
    except PhotoError as error:
        assert str(error).startswith("The photo")


def test_a_folder_is_taken_as_its_photos(tmp_path: Path):
    for name in ("b.JPG", "a.png", "c.heic", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in photos_in([tmp_path])]
    assert names == ["a.png", "b.JPG", "c.heic"]
    assert photos_in([str(tmp_path / "notes.txt")]) == [tmp_path / "notes.txt"]


def test_missing_and_empty_folders_are_told(tmp_path: Path):
    with pytest.raises(PhotoError, match="nowhere does not exist"):
        photos_in([tmp_path / "nowhere"])
    with pytest.raises(PhotoError, match="holds no photos"):
        photos_in([tmp_path])
