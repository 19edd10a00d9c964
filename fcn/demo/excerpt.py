"""Pieces of this package's source, read as text: to import most of it is to import torch."""

import ast
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1]


class Excerpt(NamedTuple):
    """A function, method or class: its name, where it is, and its source."""

    name: str
    place: str
    code: str


def excerpt(module: str, name: str) -> Excerpt:
    """Cut a function, a class or a ``Class.method`` out of a module of this package.

    >>> excerpt("inference/fusion", "fuse").code.splitlines()[0]
    'def fuse('
    """
    source = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
    found: Any = ast.parse(source)
    for part in name.split("."):
        found = next(one for one in found.body if getattr(one, "name", None) == part)
    first = min([found, *found.decorator_list], key=lambda one: one.lineno).lineno
    lines = source.splitlines()[first - 1 : found.end_lineno]
    return Excerpt(name, f"fcn/{module}.py, line {first}", textwrap.dedent("\n".join(lines)))


def constant(module: str, name: str) -> Any:
    """The value of a constant that is written out in a module of this package.

    >>> constant("vgg", "WIDTHS")
    (64, 128, 256, 512, 512)
    """
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    for one in tree.body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name:
            return ast.literal_eval(one.value)
    raise LookupError(f"{module} has no constant {name}")
