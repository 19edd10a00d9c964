"""Colour profiles, written by hand: what cameras, phones and presses embed may not be passed on."""

import struct
from collections.abc import Sequence

from PIL import ImageCms

Vector = Sequence[float]
WHITE = (0.9642, 1.0, 0.8249)  # D50, by which profiles go


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of ICC's version 2 with these tags."""
    table, content = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    size = 128 + len(table) + len(content)
    head = struct.pack(">I4xI4s4s4s12x4s28x", size, 0x02400000, kind, space, pcs, b"acsp")
    return (head + numbers(WHITE)).ljust(128, b"\0") + table + content


def numbers(values: Vector) -> bytes:
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def xyz(values: Vector) -> bytes:
    return b"XYZ \0\0\0\0" + numbers(values)


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))


def of_screen(gamma: float, red: Vector, green: Vector, blue: Vector) -> bytes:
    """A profile of three primaries, as XYZ under that white."""
    primaries = {b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(gamma))
    return profile(b"RGB ", b"mntr", b"XYZ ", {b"wtpt": xyz(WHITE)} | primaries | curves)


def of_grey(gamma: float) -> bytes:
    tags = {b"wtpt": xyz(WHITE), b"kTRC": curve(gamma)}
    return profile(b"GRAY", b"mntr", b"XYZ ", tags)


def of_press() -> bytes:
    """A press that prints its cyan as red, as Lab of all inks or none."""
    lab = [(136, 208, 195) if inks == 0b1000 else (255, 128, 128) for inks in range(16)]
    steps = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + numbers((1, 0, 0, 0, 1, 0, 0, 0, 1))
    table += 4 * steps + b"".join(map(bytes, lab)) + 3 * steps
    return profile(b"CMYK", b"prtr", b"Lab ", {b"wtpt": xyz(WHITE), b"A2B0": table})


# Their curves are near enough those of the real ones.
DISPLAY_P3 = of_screen(
    2.2, (0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)
)
ADOBE_RGB = of_screen(
    2.2, (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)
)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
