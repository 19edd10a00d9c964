"""The choices of a training run: one field is one flag, one line of help, one line of JSON."""

import argparse
import dataclasses
import json
import math
import shlex
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..checkpoint import POINTERS, resolve
from ..data.datasets import DATASETS
from ..data.source import OTHERS
from ..errors import InputError
from ..inference.fusion import STRIDES
from ..served import LARGEST_SIZE, LARGEST_WIDTH
from ..vgg import DEPTHS, HEADS
from .tracking import TRACKERS


def crops_or_auto(text: str) -> int | str:
    """Read ``--batch-size``; what auto means is for the command line to say."""
    return text if text == "auto" else int(text)


def option(
    default: Any,
    help: str,
    choices: list[Any] | None = None,
    read: Callable[[str], Any] | None = None,
) -> Any:
    """A dataclass field that becomes a flag; ``read`` takes more than the field's type does."""
    metadata = {"help": help, "choices": choices, "read": read}
    if isinstance(default, list):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


LOCAL = (  # what no recipe has
    *("data", "init", "output", "resume", "workers", "watch", "tracker", "accumulate"),
    *("checkpoint_activations", "push", "space", "force"),
)

LASTING = (  # what a run that goes on cannot change: its labels and its layers
    *("dataset", "classes", "others", "backbone", "head", "width", "stride", "dropout", "context"),
    *("frozen_stages", "learn_deconvolution"),
)


@dataclass
class TrainConfig:
    """Every choice of a run; each field is a flag of the same name."""

    dataset: str = option("scene_parsing", "what to learn", list(DATASETS))
    data: str = option(
        "data",
        "folder with CamVid/, VOCdevkit/ or ADEChallengeData2016/; or train/, val/, classes.txt",
    )
    split: str = option("", "split to train on; empty for the data set's default")
    val_split: str = option("", "split to validate on; empty for the data set's default")
    classes: list[str] = option([], "keep only these classes, by name; empty for all")
    others: str = option("background", "what the other classes become", list(OTHERS))
    repeat: list[str] = option(
        [], "PATTERN=N: photos with matching names are seen N times per epoch; for rare kinds"
    )

    backbone: str = option("vgg16", "network to start from", list(DEPTHS))
    head: str = option(
        "compact",
        "fc6 and fc7: 3x3 dilated and new, or VGG's own; those take no --width and no --context",
        list(HEADS),
    )
    width: int = option(1024, "channels of the compact fc6 and fc7")
    stride: int = option(8, "finest map fused in: FCN-32s, 16s or 8s", list(STRIDES))
    dropout: float = option(0.3, "share of fc6 and fc7 channels dropped")
    context: bool = option(True, "let the compact fc6 see the mean of the whole picture, too")
    backbone_weights: str = option(
        "imagenet",
        "safetensors file with VGG's layers; imagenet downloads them; none is random, which needs"
        " --frozen-stages 0 and a higher --backbone-lr",
    )
    init: str = option(
        "", "checkpoint or Hub id to start from instead; layers that do not fit start anew"
    )
    frozen_stages: int = option(2, "how many VGG stages, from the first, are not trained")
    learn_deconvolution: bool = option(True, "train the upsampling kernels; else bilinear")

    size: int = option(0, "long side that photos are scaled to; 0 for the data set's default")
    crop: tuple[int, int] = option((384, 384), "height and width of a training crop")
    scale: tuple[float, float] = option((0.7, 1.4), "range of the random scale")
    flip: bool = option(True, "mirror half of the crops at random")
    color: float = option(
        0.2, "colour jitter: how much brightness, contrast and saturation may vary"
    )
    balance: float = option(0.0, "exponent of median-frequency class weights: 0 is none, 1 is full")

    steps: int = option(80000, "optimizer steps")
    minutes: float = option(0.0, "stop after this much training time; 0 for no limit")
    batch_size: int = option(
        16, "crops per step, over all processes; auto splits them to fit", read=crops_or_auto
    )
    accumulate: int = option(0, "gradient accumulation: passes per step; 0 finds what fits a GPU")
    checkpoint_activations: bool = option(
        False, "recompute activations in the backward pass: less memory, more time"
    )
    lr: float = option(3e-4, "AdamW's learning rate for new layers")
    backbone_lr: float = option(3e-5, "AdamW's learning rate for VGG's layers")
    weight_decay: float = option(0.01, "AdamW's weight decay")
    warmup: int = option(
        100, "steps over which the learning rates rise; at most a fifth of the budget"
    )
    power: float = option(
        0.9, "polynomial decay: learning rates fall as (1 - progress) to this power"
    )
    clip: float = option(5.0, "clip gradients to this norm; 0 for no clipping")

    eval_every: int = option(4000, "steps between evaluations on the val split")
    save_minutes: float = option(5.0, "minutes between checkpoints to resume from")
    watch: list[str] = option([], "photos to segment as it learns, besides four of the data set")
    tracker: str = option("none", "experiment tracker to log to", ["none", *TRACKERS])
    export: bool = option(True, "at the end, write int8 weights too, which are fast on a CPU")
    push: str = option("", "USER/MODEL on the Hub to push the best checkpoint to, if no worse")
    space: str = option("", "USER/NAME of the Space that then serves it")
    force: bool = option(False, "push even a checkpoint that scored worse than what is there")
    output: str = option("", "folder of the run; empty for runs/DATASET")
    resume: bool = option(False, "continue from the run's last checkpoint")
    precision: str = option(
        "auto",
        "auto is bf16 where the device has it (of NVIDIA's GPUs those since Ampere), else fp32; on"
        " those GPUs, fp32 is TF32 in convolutions",
        ["auto", "fp32", "bf16"],
    )
    workers: int = option(
        -1, "processes that load and augment for each GPU; -1 shares out the cores, up to 16"
    )
    seed: int = option(0, "seed of all random numbers")

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have; JSON and flags give lists for tuples."""
        (height, width), (low, high) = self.crop, self.scale
        self.crop, self.scale = (height, width), (low, high)
        # Asked so that "not a number" is refused, too.
        for name in ("steps", "batch_size", "eval_every", "width", "lr"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} must be more than 0.")
        rates = ("backbone_lr", "weight_decay", "power", "clip")
        for name in (*rates, "warmup", "size", "minutes", "accumulate", "save_minutes", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name.replace('_', '-')} must not be less than 0.")
        # Or what was trained could not be served.
        for name, most in (("width", LARGEST_WIDTH), ("size", LARGEST_SIZE)):
            if getattr(self, name) > most:
                raise InputError(f"--{name} must be at most {most}.")
        if self.workers < -1:
            raise InputError("--workers must be -1 or more.")
        if self.seed >= 2**63:
            raise InputError("--seed must be less than 2**63.")
        for name in ("dropout", "color"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 0 and less than 1.")
        for name, value in vars(self).items():
            if math.inf in (value if isinstance(value, tuple) else (value,)):
                raise InputError(f"--{name.replace('_', '-')} must be a finite number.")
        if height < 1 or width < 1 or not 0 < low <= high:
            raise InputError("--crop and --scale must be more than 0, and the range in order.")
        if not 0 <= self.balance <= 1:
            raise InputError(f"--balance is {self.balance}, but goes from 0 to 1.")
        if not 0 <= self.frozen_stages <= 5:
            raise InputError(f"--frozen-stages is {self.frozen_stages}, but VGG has 5 stages.")

    def recipe(self) -> dict[str, Any]:
        """The choices that another machine can repeat: all but what is this one's alone.

        That is where things lie, and how a step is split to fit the memory, which changes nothing
        that is learnt but which channels dropout draws.
        """
        recipe = dataclasses.asdict(self)
        for name in LOCAL:
            del recipe[name]
        if self.backbone_weights not in ("imagenet", "none"):
            recipe["backbone_weights"] = "imagenet"
        return recipe

    def changes(self, before: Mapping[str, Any]) -> list[str]:
        """The recipe's choices that differ from an earlier one's, as a command line has them."""
        pairs = ((name, before.get(name), now) for name, now in self.recipe().items())
        return [
            f"{spell(name, now)} (was {spell(name, earlier)})"
            for name, earlier, now in pairs
            if earlier not in (None, [*now] if isinstance(now, tuple) else now)
        ]

    def check_lasting(self, before: Mapping[str, Any], run: Path) -> None:
        """Insist on what a run that goes on was begun with.

        Raises:
            InputError: If any of ``LASTING`` differs from the run's recipe; it names them all.
        """
        now = {name: getattr(self, name) for name in LASTING}
        differing = [name for name in LASTING if before.get(name, now[name]) != now[name]]
        if differing:
            begun, wanted = (
                " ".join(spell(name, values[name]) for name in differing)
                for values in (before, now)
            )
            raise InputError(
                f"{run} was begun with {begun}, not {wanted}: --resume goes on with the same."
            )

    def command(self) -> str:
        """The command line of this config: every choice that is not the default."""
        words = ["python train.py"]
        for field in dataclasses.fields(self):
            value, default = getattr(self, field.name), field.default
            if value == ([] if default is dataclasses.MISSING else default):
                continue
            words.append(spell(field.name, value))
        return " ".join(words)

    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.output or f"runs/{self.dataset}")


def spell(name: str, value: Any) -> str:
    """A choice as a command line has it.

    >>> spell("frozen_stages", 2), spell("crop", (96, 64)), spell("context", False)
    ('--frozen-stages 2', '--crop 96 64', '--no-context')
    """
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    items = value if isinstance(value, list | tuple) else [value]
    return " ".join([f"--{flag}", *(shlex.quote(str(item)) for item in items)])


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag per field; a flag that is not used leaves no trace."""
    types = typing.get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        kind, default = types[field.name], field.default
        if default is dataclasses.MISSING:
            default = []
        shown = " ".join(map(str, default)) if isinstance(default, tuple | list) else default
        keywords: dict[str, Any] = {
            "help": field.metadata["help"] + ("" if shown == "" else f" (default: {shown})"),
            "default": argparse.SUPPRESS,
        }
        if kind is bool:
            keywords["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) in (tuple, list):
            items = typing.get_args(kind)
            keywords["type"] = items[0]
            if typing.get_origin(kind) is tuple:
                keywords["nargs"] = len(items)
            else:  # given twice, a list is that of both
                keywords |= {"nargs": "*", "action": "extend"}
        else:
            keywords["type"] = field.metadata["read"] or kind
            keywords["choices"] = field.metadata["choices"]
        if kind is not bool and not keywords.get("choices"):
            keywords["metavar"] = field.name.rpartition("_")[2].upper()
        parser.add_argument("--" + field.name.replace("_", "-"), **keywords)


def find_config(path: Path) -> Path:
    """The file that a path means: itself, or the ``training.json`` of the checkpoint that it is.

    Raises:
        InputError: If it is a folder that is no checkpoint.
    """
    if path.is_dir() or (path.name in POINTERS and path.is_file()):
        return resolve(path) / "training.json"
    # RUN/best is a file, so there is no RUN/best/training.json, much as it looks like one.
    if path.name == "training.json" and not path.exists():
        with suppress(InputError):
            return resolve(path.parent) / "training.json"
    return path


def read_config(file: Path) -> dict[str, Any]:
    """The fields of a config in a JSON file: a bare object, or a ``training.json``'s ``config``.

    A checkpoint, a run or one of its pointers stands for the ``training.json`` in it.

    Raises:
        InputError: If the file is not there or not such JSON, has a field that does not exist, or
            a value that its flag would not take; or if a ``training.json`` has one of ``LOCAL``.
    """
    file = find_config(file)
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        values = whole.get("config", whole)
        if not isinstance(values, dict):
            raise TypeError("config is no JSON object")
    except FileNotFoundError as error:
        raise InputError(f"{file} does not exist.") from error
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{file} is not a training config: {error}") from error
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    if unknown := set(values) - set(fields):
        raise InputError(f"{file} has unknown fields: {', '.join(sorted(unknown))}.")
    if values is not whole and (own := sorted(set(values) & set(LOCAL))):
        # A checkpoint may be anyone's, and where it is pushed is for whoever trains it to say.
        raise InputError(f"{file} sets {', '.join(own)}, which is for the command line alone.")
    types = typing.get_type_hints(TrainConfig)
    for name, value in values.items():
        choices = fields[name].metadata["choices"]
        try:
            values[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise InputError(f"{file}: {name} is {value!r}. {reason}.") from error
        if choices and value not in choices:
            known = ", ".join(map(str, choices))
            raise InputError(f"{file}: {name} is {value!r}, but must be one of {known}.")
    return values
