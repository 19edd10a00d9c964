"""What a ``config.json`` must hold for its network to be served.

The convention: what comes from a Hub or a stranger's folder is data. It is looked at once, when a
checkpoint is loaded, so that all that reads it later may rely on it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .checkpoint import CONFIG_NAME
from .errors import InputError
from .palette import MAX_CLASSES

# More than a server has memory for, and bounds for strangers' files.
LARGEST_SIZE = 8192  # pixels
LARGEST_WIDTH = 8192  # channels of fc6 and fc7; the paper's have 4096

Three = Field(min_length=3, max_length=3)
Share = Annotated[float, Field(ge=0, le=1)]
Color = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Three]


class Served(BaseModel):
    """The values of ``config.json`` that serving depends on, see ``FCN`` for what they mean."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    classes: Annotated[list[str], Field(min_length=1, max_length=MAX_CLASSES)]
    palette: list[Color] | None
    stride: Literal[8, 16, 32]
    inference_size: Annotated[int, Field(ge=0, le=LARGEST_SIZE)]
    temperature: Annotated[float, Field(gt=0)]
    absent_below: Share = 0.0  # older checkpoints have none
    doubt_below: Share
    presence: bool = False  # older checkpoints have none
    mean: Annotated[list[float], Three]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Three]

    @model_validator(mode="after")
    def check_classes(self) -> Self:
        """Refuse a name that occurs twice, and a palette of other classes."""
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("the classes are not distinct")
        if self.palette is not None and len(self.palette) != len(self.classes):
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes")
        return self


def check_size(config: dict[str, Any], folder: Path) -> None:
    """Check, before a network is built, that what ``config.json`` asks for is no monster.

    Raises:
        InputError: If it would take more memory than any that is served.
    """
    width, classes = config.get("width", 1), config.get("classes", ())
    if not isinstance(width, int) or width > LARGEST_WIDTH:
        raise InputError(f"{folder / CONFIG_NAME} cannot be served (width: {str(width)[:20]}).")
    if not isinstance(classes, list) or len(classes) > MAX_CLASSES:
        raise InputError(f"{folder / CONFIG_NAME} cannot be served (classes).")


def check(config: dict[str, Any], folder: Path) -> None:
    """Check what the ``config.json`` of a folder holds.

    Raises:
        InputError: If no photo can be answered by it.
    """
    try:
        Served.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        named = f"{where}: {reason}" if where else reason
        raise InputError(f"{folder / CONFIG_NAME} cannot be served ({named}).") from error
