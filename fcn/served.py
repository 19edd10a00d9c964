"""What a ``config.json`` must hold for its network to be served.

The convention: what comes from a Hub or a stranger's folder is data. It is looked at once, when a
checkpoint is loaded, so that all that reads it later may rely on it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .checkpoint import CONFIG_NAME
from .errors import InputError
from .palette import MAX_CLASSES

# More than a server has memory for, and bounds for strangers' files.
LARGEST_SIZE = 8192  # pixels
LONGEST_NAME = 200  # characters
LARGEST_WIDTH = 8192  # channels of fc6 and fc7; the paper's have 4096

Three = Field(min_length=3, max_length=3)
Share = Annotated[float, Field(ge=0, le=1)]
Color = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Three]


def check_name(name: str) -> str:
    """Refuse what a page or a terminal would not show as the name of a class."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a class has more than {LONGEST_NAME} characters, or some not to be seen")
    return name


Name = Annotated[str, AfterValidator(check_name)]


class Built(BaseModel):
    """The values that say how much memory a network takes, to be checked before it is built."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    classes: Annotated[list[Name], Field(min_length=1, max_length=MAX_CLASSES)]
    width: Annotated[int, Field(gt=0, le=LARGEST_WIDTH)] = 1024


class Served(Built):
    """The values of ``config.json`` that serving depends on, see ``FCN`` for what they mean."""

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


def check(config: dict[str, Any], folder: Path, values: type[Built] = Served) -> None:
    """Check what the ``config.json`` of a folder holds.

    Args:
        config: Its content.
        folder: Where it lies.
        values: Which of them are looked at.

    Raises:
        InputError: If no photo can be answered by it.
    """
    try:
        values.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        named = f"{where}: {reason}" if where else reason
        raise InputError(f"{folder / CONFIG_NAME} cannot be served ({named}).") from error
