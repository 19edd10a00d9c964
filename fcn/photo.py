"""The only opener of photos: an untrusted file becomes a clean RGB picture or one clear sentence.

The convention: what comes out is sRGB, 8 bits, upright, opaque on white, and of at most
``MAX_PIXELS``; the size is checked before any pixel is decoded.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageOps, UnidentifiedImageError

from .errors import InputError

MAX_PIXELS = 40_000_000
MAX_MEGABYTES = 20  # of a file that a browser sends
# Named, because Pillow would also run Ghostscript on EPS and try decoders that nobody needs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
# Pillow cannot read .heic; it is here to be reported and not silently left out of a folder.
PHOTO_ENDINGS = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
NO_PHOTO = "is not a photo that can be read: give a JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF."
BROKEN = (  # what Pillow raises for damaged files
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, OverflowError),
    *(RuntimeError, struct.error, zlib.error),
)
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# Of colour profiles: Pillow's mode for what they convert from, colours that tell whether one is
# sRGB's, and by how many steps of 255 these may be off then.
PROFILES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
SWATCHES = Image.fromarray(np.indices((6, 6, 6), np.uint8).reshape(3, 1, -1).T * 51)
ALIKE = 2


class PhotoError(InputError):
    """A photo that cannot be used, and why, in one sentence that names it."""


def open_photo(
    source: str | Path | BinaryIO | Image.Image, name: str = "", longest: int = 0
) -> Image.Image:
    """Open a photo from anywhere.

    Rotation by EXIF is carried out, a colour profile's colours are brought to sRGB, transparency
    is laid on white, 16-bit and float values are scaled to 8 bits, and of an animation the first
    picture is taken.

    Args:
        source: A path, a seekable binary file, or a picture that Pillow has opened.
        name: What to call it in a message; the file's name if empty.
        longest: Pixels to which the longer side is scaled down; 0 leaves it. A large JPEG file
            is decoded at a fraction of its size then, which takes a fraction of the time.

    Returns:
        A picture of mode RGB, independent of the source.

    Raises:
        PhotoError: If it is not a photo, damaged, too large, or of a kind that cannot be read.
    """
    if isinstance(source, Image.Image):
        name = name or "The picture"
        with _explained(name):
            return _clean(source, name, longest)
    if not isinstance(source, str | Path):
        return _decode(source, name or "The photo", longest)
    path = Path(source)
    name = name or path.name
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading it may never end
            raise PhotoError(f"{name} is a device or a pipe, not a photo.")
        with path.open("rb") as file:
            return _decode(file, name, longest)
    except IsADirectoryError as error:
        raise PhotoError(f"{name} is a folder, not a photo.") from error
    except FileNotFoundError as error:
        raise PhotoError(f"{name} does not exist.") from error
    except OSError as error:
        raise PhotoError(f"{name} cannot be read: {error.strerror}.") from error


def is_shown_alike(path: str | Path, longest: int) -> bool:
    """Whether browsers make the same picture of a photo's file as ``open_photo`` does.

    Only JPEG is said to be, and only if nothing in it may ask for a turn or for other colours.
    """
    with Image.open(path, formats=FORMATS) as image:
        plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        plain = plain and not image.info.keys() & {"exif", "xmp"}
        return plain and max(image.size) <= longest and _conversion(image) is None


def photos_in(paths: Iterable[str | Path]) -> list[Path]:
    """List photos: files as they are given, and for a folder the photos directly in it, sorted.

    Raises:
        PhotoError: If a path does not exist, or a folder has no file that ends like a photo.
    """
    photos: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise PhotoError(f"{path} does not exist.")
        photos += _photos_of_folder(path) if path.is_dir() else [path]
    return photos


def _photos_of_folder(folder: Path) -> list[Path]:
    photos = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PHOTO_ENDINGS and not path.name.startswith(".") and path.is_file()
    )
    if not photos:
        endings = ", ".join(PHOTO_ENDINGS)
        raise PhotoError(f"{folder} holds no photos (files that end in {endings}).")
    return photos


def _decode(file: BinaryIO, name: str, longest: int) -> Image.Image:
    head = file.read(1024)
    file.seek(0)
    with _explained(name, head), Image.open(file, formats=FORMATS) as image:
        _check_size(image, name)
        if longest:
            # Only JPEG's decoder can; it halves the sides while they stay at least as long.
            factor = longest / max(image.size)
            width, height = (max(1, round(factor * side)) for side in image.size)
            image.draft(None, (width, height))
        return _clean(image, name, longest)


@contextmanager
def _explained(name: str, head: bytes = b"") -> Iterator[None]:
    """Turn what Pillow raises into one sentence about the file that starts with ``head``."""
    try:
        yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name} {_reason(head)}") from error
    except BOMBS as error:
        raise PhotoError(_too_large(name)) from error
    except BROKEN as error:
        raise PhotoError(f"{name} is damaged or cut short: save or download it again.") from error


def _reason(head: bytes) -> str:
    """Say why a file that starts like this cannot be a photo."""
    if not head:
        return "is empty (0 bytes): save or download it again."
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"hevc", b"mif1"):
        return "is HEIC: export as JPEG."
    if b"<svg" in head.lower():
        return "is SVG, a drawing: export as PNG."
    return NO_PHOTO


def _too_large(name: str, size: tuple[int, int] | None = None) -> str:
    limit = f"{MAX_PIXELS // 10**6} megapixels"
    if size is None:
        return f"{name} is larger than {limit}: make it smaller."
    return f"{name} is {size[0]} x {size[1]} pixels, more than {limit}: make it smaller."


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise PhotoError(_too_large(name, image.size))
    if image.width * image.height == 0:
        raise PhotoError(f"{name} has no pixels.")


def _clean(image: Image.Image, name: str, longest: int) -> Image.Image:
    """Decode a picture and bring it to sRGB, upright, opaque and to size."""
    _check_size(image, name)
    image.load()
    photo = flatten(_to_srgb(_turn(image), longest))
    photo.info.pop("icc_profile", None)  # Pillow would save it with what is made of the photo
    if longest:
        photo.thumbnail((longest, longest))
    return photo


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF asks for a turn, so that ``open_photo`` gives a picture not as it is stored."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) > 1
    except BROKEN:
        return False


def _turn(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except BROKEN:
        return image  # a camera's damaged notes are no reason to refuse its photo


def _to_srgb(image: Image.Image, longest: int) -> Image.Image:
    """Bring a picture to the colours that its profile, if it has one, says it shows."""
    if not (conversion := _conversion(image)):
        return image
    alpha = None
    if image.mode.startswith(("I", "F")):
        image = _scale_to_8_bits(image)
    elif image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
    image = image.convert(conversion.input_mode)
    if longest and alpha is None:
        image.thumbnail((longest, longest))  # already here: a conversion takes time by the pixel
    photo = conversion.apply(image)
    if alpha is not None:
        photo.putalpha(alpha)
    return photo


def _conversion(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """What brings a picture's colours to sRGB, or None if they are taken for it.

    As in browsers, colours are converted perceptually, a profile of colours is good for a grey
    picture too, and one that is damaged, or of another kind than the picture, is left aside.
    """
    if not (content := image.info.get("icc_profile")):
        return None
    kind = "CMYK" if image.mode == "CMYK" else Image.getmodebase(image.mode)
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(content))
        mode = PROFILES[profile.profile.xcolor_space]
        if mode not in {"CMYK": ("CMYK",), "L": ("L", "RGB")}.get(kind, ("RGB",)):
            return None
        srgb, swatches = ImageCms.createProfile("sRGB"), SWATCHES.convert(mode)
        # Without preparing for many pixels: most profiles are one of sRGB's many.
        draft = ImageCms.buildTransform(profile, srgb, mode, "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
        found = ImageChops.difference(draft.apply(swatches), swatches.convert("RGB"))
        if np.asarray(found).max() <= ALIKE:
            return None
        return ImageCms.buildTransform(profile, srgb, mode, "RGB")
    except (*BROKEN, ImageCms.PyCMSError):
        return None


def flatten(image: Image.Image) -> Image.Image:
    """Bring a decoded picture to RGB: 8 bits, and opaque on white."""
    if image.mode.startswith(("I", "F")):
        image = _scale_to_8_bits(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Bring grey values of 16 or 32 bits to 0 to 255, by the first usual white that holds them."""
    values = np.array(image, np.float32)
    np.nan_to_num(values, copy=False, posinf=0)
    top = float(values.max())
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    white = next((white for white in whites if top <= white), top)
    np.clip(values, 0, white, out=values)
    values *= 255 / white
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))
