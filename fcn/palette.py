"""Colours of classes: the data sets' own, and a colour-blind-safe set for everything else.

A colour is three 8-bit sRGB values. A palette is a dict from class name to colour, in the order
of the labels, so that ``list(VOC)[12]`` is the class of label 12. Label 255 is never a class.
"""

import colorsys
from collections.abc import Sequence

Color = tuple[int, int, int]
MAX_CLASSES = 254  # labels are 8-bit, 255 is never a class, and 254 a stored value that means none
BACKGROUND = "background"  # the class that is not painted and comes last in legends


def hex_code(color: Color) -> str:
    """Return a colour as it is written on the web.

    >>> hex_code((128, 64, 0))
    '#804000'
    """
    return f"#{bytes(color).hex()}"


def _bit_interleaved(label: int) -> Color:
    """Return Pascal VOC's colour of a label: bits 0, 1, 2 of every octal digit to R, G, B."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (label & 1) << shift
        green |= (label >> 1 & 1) << shift
        blue |= (label >> 2 & 1) << shift
        label >>= 3
    return red, green, blue


def _parse(table: str) -> dict[str, Color]:
    """Read ``name rrggbb, name rrggbb, ...``; a name may hold spaces."""
    palette = {}
    for entry in table.split(","):
        name, code = entry.strip().rsplit(" ", 1)
        red, green, blue = bytes.fromhex(code)
        palette[name] = (red, green, blue)
    return palette


# The SegNet copy's eleven classes and colours. Its Pavement is (60, 40, 222); CamVid's own
# Sidewalk, which it took over, is (0, 0, 192).
CAMVID: dict[str, Color] = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}

_VOC_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor"
)
VOC: dict[str, Color] = {name: _bit_interleaved(i) for i, name in enumerate(_VOC_NAMES.split())}

# MIT Scene Parsing: the first name of every class in objectInfo150.txt and its colour in
# color150.csv. Road and skyscraper share a grey there, and so they do here.
SCENE_PARSING: dict[str, Color] = _parse("""
wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850,
road 8c8c8c, bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff, sidewalk ebff07,
person 96053d, earth 787846, door 08ff33, table ff0652, mountain 8fff8c, plant ccff04,
curtain ff3307, chair cc4603, car 0066c8, water 3de6fa, painting ff0633, sofa 0b66ff,
shelf ff0747, house ff09e0, sea 0907e6, mirror dcdcdc, rug ff095c, field 7009ff,
armchair 08ffd6, seat 07ffe0, fence ffb806, desk 0aff47, rock ff290a, wardrobe 07ffff,
lamp e0ff08, bathtub 6608ff, railing ff3d06, cushion ffc207, base ff7a08, box 00ff14,
column ff0829, signboard ff0599, chest of drawers 0633ff, counter eb0cff, sand a09614,
sink 00a3ff, skyscraper 8c8c8c, fireplace fa0a0f, refrigerator 14ff00, grandstand 1fff00,
path ff1f00, stairs ffe000, runway 99ff00, case 0000ff, pool table ff4700, pillow 00ebff,
screen door 00adff, stairway 1f00ff, river 0bc8c8, bridge ff5200, bookcase 00fff5, blind 003dff,
coffee table 00ff70, toilet 00ff85, flower ff0000, book ffa300, hill ff6600, bench c2ff00,
countertop 008fff, stove 33ff00, palm 0052ff, kitchen island 00ff29, computer 00ffad,
swivel chair 0a00ff, boat adff00, bar 00ff99, arcade machine ff5c00, hovel ff00ff, bus ff00f5,
towel ff0066, light ffad00, truck ff0014, tower ffb8b8, chandelier 001fff, awning 00ff3d,
streetlight 0047ff, booth ff00cc, television 00ffc2, airplane 00ff52, dirt track 000aff,
apparel 0070ff, pole 3300ff, land 00c2ff, bannister 007aff, escalator 00ffa3, ottoman ff9900,
bottle 00ff0a, buffet ff7000, poster 8fff00, stage 5200ff, van a3ff00, ship ffeb00,
fountain 08b8aa, conveyer belt 8500ff, canopy 00ff5c, washer b800ff, plaything ff001f,
swimming pool 00b8ff, stool 00d6ff, barrel ff0070, basket 5cff00, waterfall 00e0ff, tent 70e0ff,
bag 46b8a0, minibike a300ff, cradle 9900ff, oven 47ff00, ball ff00a3, food ffcc00, step ff008f,
tank 00ffeb, trade name 85ff00, microwave ff00eb, pot f500ff, animal ff007a, bicycle fff500,
lake 0abed4, dishwasher d6ff00, screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff,
sconce 0029ff, vase 00ffcc, traffic light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff,
pier 4700ff, crt screen 7a00ff, plate 00ffb8, monitor 005cff, bulletin board b8ff00,
shower 0085ff, radiator ffd600, glass 19c2c2, clock 66ff00, flag 5c00ff
""")

# Chosen by a search among colours of moderate chroma (at most 60 in CIE Lab) for the largest
# distance between any two, as seen by normal, protan, deutan and tritan eyes: at least 24 for all
# twelve, and 46 for the first four.
_COLOR_BLIND_SAFE: tuple[Color, ...] = (
    (180, 180, 240),
    (120, 20, 0),
    (240, 180, 100),
    (0, 60, 140),
    (200, 80, 80),
    (0, 180, 160),
    (100, 120, 220),
    (180, 240, 240),
    (160, 100, 0),
    (240, 220, 180),
    (140, 100, 160),
    (100, 40, 80),
)


def distinct(count: int) -> list[Color]:
    """Return colours for `count` classes that have none of their own, no two of them equal.

    Up to twelve are told apart by colour-blind eyes too; more are spread evenly over the hues,
    with neighbours of different lightness.

    Args:
        count: how many, 0 to ``MAX_CLASSES``.

    Raises:
        ValueError: `count` is outside that range.
    """
    if not 0 <= count <= MAX_CLASSES:
        raise ValueError(f"A palette has 0 to {MAX_CLASSES} colours, not {count}")
    if count <= len(_COLOR_BLIND_SAFE):
        return list(_COLOR_BLIND_SAFE[:count])
    return [_hue(i / count, lightness=(0.35, 0.55, 0.75)[i % 3]) for i in range(count)]


def things(classes: Sequence[str]) -> list[str]:
    """The classes without ``background``: what a network finds, and what is painted."""
    return [name for name in classes if name != BACKGROUND]


def safe_colors(classes: Sequence[str]) -> list[Color] | None:
    """Return colours that colour-blind eyes tell apart, or None for more than twelve classes.

    Args:
        classes: Names in label order. ``background`` is black and does not count.
    """
    painted = things(classes)
    if len(painted) > len(_COLOR_BLIND_SAFE):
        return None
    colors = dict(zip(painted, _COLOR_BLIND_SAFE, strict=False))
    return [colors.get(name, (0, 0, 0)) for name in classes]


def _hue(hue: float, lightness: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
