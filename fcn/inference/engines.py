"""What runs a network: a small picture in, scores out.

``onnx`` runs the int8 file of a checkpoint on the CPU and needs no torch, ``torch`` runs the
weights on any device. The convention: an engine sees uint8 RGB of the size that the network is to
see, and gives float32 numpy arrays; all before and after is the same for every engine, but that a
GPU decides what is on it (``gpu_decision``).
"""

import hashlib
import json
import logging
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoint, served
from ..cores import count_cores, limit_torch
from ..errors import InputError, first_line
from . import amx
from .fusion import KERNELS, MAPS, STRIDES, Upscored, fuse

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor

    from ..model import FCN

ONNX_NAME = "model_int8.onnx"
WEIGHTS_KEY = "weights_sha256"  # in the ONNX file: the SHA-256 of the weights it was made from
CONFIG_KEY = "config"  # and their config.json
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"  # ONNX Runtime's name
ZERO_GPU = "SPACES_ZERO_GPU"  # a variable that Spaces on ZeroGPU have
PROBE = (64, 96)  # pixels: a picture of which each stride has another number of cells
LOG = logging.getLogger(__name__)


class Engine(ABC):
    """What runs a network.

    Attributes:
        name: Its key in ``ENGINES``.
        config: What ``config.json`` holds, complete.
    """

    name: str
    config: dict[str, Any]

    @property
    @abstractmethod
    def kernels(self) -> Mapping[str, np.ndarray]:
        """By name, ``KERNELS``: the weights (num_classes, 1, 2s, 2s) of the deconvolutions."""

    @property
    def gpu(self) -> str | None:
        """Where scores should be brought to size, as torch names it; None for this process."""
        return None

    def scores(
        self, image: np.ndarray, strides: Sequence[int]
    ) -> Mapping[int, np.ndarray | Upscored]:
        """Score a picture at some strides, in one run of the network.

        Args:
            image: (h, w, 3) uint8 RGB, contiguous and writable.
            strides: Some of 8, 16 and 32.

        Returns:
            By stride (num_classes, h, w) float32 logits.
        """
        maps, kernels, shape = self.maps(image), self.kernels, image.shape[:2]
        return {stride: fuse(maps, kernels, stride, shape, self.gpu) for stride in strides}

    @abstractmethod
    def maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Score a picture at low resolution, before anything is brought to size or fused.

        Args:
            image: As for ``scores``.

        Returns:
            ``score_fr`` (num_classes, h/32, w/32), ``score_pool4`` (num_classes, h/16, w/16) and
            ``score_pool3`` (num_classes, h/8, w/8), float32; sizes round up. And, if the network
            has it, ``presence`` (num_classes,): the logits of ``presence.Presence``.
        """


class TorchEngine(Engine):
    """Runs a live network on the device that it is on, in evaluation mode.

    Attributes:
        bf16: Whether it computes in bfloat16, for what does not hang on the last digits.
    """

    name = "torch"
    bf16 = False

    def __init__(self, model: "FCN") -> None:
        self.model = model
        self.config = model.config

    @property
    def gpu(self) -> str | None:
        """The GPU that the network is on now, see ``Engine``."""
        device = self.model.mean.device
        return str(device) if device.type == "cuda" else None

    @classmethod
    def load(cls, folder: Path, device: str | None) -> "TorchEngine":
        """Load a checkpoint folder onto a device, or onto the best that is there."""
        import torch

        from .. import saving

        limit_torch()
        config = checkpoint.read_json(folder, checkpoint.CONFIG_NAME)
        served.check(config, folder, served.Built)
        model, device = saving.load(folder), device or _best_device()
        served.check(model.config, folder)
        try:
            # Convolutions on a CPU are faster with the channels innermost.
            engine = cls(model.to(memory_format=torch.channels_last).to(torch.device(device)))
            engine.maps(np.zeros((1, 1, 3), np.uint8))  # some GPUs take weights, but run nothing
            return engine
        except (RuntimeError, AssertionError) as error:
            reason = first_line(error)
            raise InputError(f"Device {device!r} cannot be used here ({reason}).") from error

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The deconvolutions' weights, see ``Engine``."""
        weights = {name: self.model.head.get_parameter(f"{name}.weight") for name in KERNELS}
        return {name: one.detach().float().cpu().numpy() for name, one in weights.items()}

    def maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Score a picture at low resolution, see ``Engine``."""
        with self.running():
            maps = self.model.eval().maps(self.images(image))
            return {name: one[0].float().cpu().numpy() for name, one in maps.items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        """What its network runs in."""
        import torch

        from .gpu_decision import told_of_memory

        device = self.model.mean.device.type
        autocast = torch.autocast(device, torch.bfloat16, enabled=self.bf16)
        with torch.inference_mode(), told_of_memory(), autocast:
            yield

    def images(self, image: np.ndarray) -> "Tensor":
        """A picture as the network takes it, on its device: (1, 3, h, w), channels last."""
        import torch

        pixels = torch.from_numpy(image).to(self.model.mean.device)
        return pixels.permute(2, 0, 1)[None].float() / 255


def _best_device() -> str:
    import torch

    # ZeroGPU pretends to a GPU, and lends it for calls that this project does not make.
    if torch.cuda.is_available() and ZERO_GPU not in os.environ:
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class OnnxEngine(Engine):
    """Runs a checkpoint's int8 file on all of the CPU's cores.

    The file answers with the three score maps, and with the deconvolutions' kernels, by which
    ``fuse`` goes on from them: so strides 32, 16 and 8 come from one run.
    """

    name = "onnx"

    def __init__(self, session: "onnxruntime.InferenceSession", config: dict[str, Any]) -> None:
        self.session = session
        self.config = config

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> "OnnxEngine":
        """Load a checkpoint folder's int8 file; the weights need not be there.

        Raises:
            InputError: If it cannot be used: ONNX Runtime or the file is missing, the file is
                damaged or made from other weights, or the device is no CPU.
        """
        if device not in (None, "cpu"):
            raise InputError(f"The onnx engine runs on the CPU alone, not on {device!r}.")
        file, weights = folder / ONNX_NAME, folder / checkpoint.WEIGHTS_NAME
        if not file.is_file():
            raise InputError(f"{file} is missing (python -m fcn export makes it).")
        session = _open_session(file)
        made_from = _origin(session)
        if weights.is_file() and made_from.get(WEIGHTS_KEY) != fingerprint(weights):
            raise InputError(
                f"{file} was made from other weights than those beside it"
                " (python -m fcn export makes it anew)."
            )
        # What an older config.json leaves out is as it was when the file was made.
        try:
            config = dict(json.loads(made_from.get(CONFIG_KEY, "{}")))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{file} is damaged: {CONFIG_KEY} in it is no JSON object.") from error
        config |= checkpoint.read_json(folder, checkpoint.CONFIG_NAME)
        served.check(config, folder)
        engine, wanted = cls(session, config), _shapes(config)
        names = tuple(wanted)
        is_whole = wanted.keys() <= {one.name for one in session.get_outputs()}
        # A file may declare any shapes, so that those of an answer are looked at.
        found = engine._run(names, np.zeros((*PROBE, 3), np.uint8)) if is_whole else {}
        if {name: one.shape for name, one in found.items()} != wanted:
            raise InputError(f"{file} is of another network than config.json beside it tells of.")
        return engine

    def maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Score a picture at low resolution, see ``Engine``."""
        names = (*MAPS, *_optional(self.config))
        return {name: one[0] for name, one in self._run(names, image).items()}

    @cached_property
    def kernels(self) -> dict[str, np.ndarray]:
        """The deconvolutions' weights, see ``Engine``."""
        return self._run(tuple(KERNELS), np.zeros((1, 1, 3), np.uint8))

    def _run(self, names: tuple[str, ...], image: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, self.session.run(names, {"image": image}), strict=True))
        except Exception as error:  # the runtime has a class of its own for each kind of failure
            raise InputError(f"{ONNX_NAME} cannot be run here ({first_line(error)}).") from error


def _optional(config: dict[str, Any]) -> tuple[str, ...]:
    return ("presence",) if config.get("presence") else ()  # older checkpoints have none


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of what an int8 file answers to a picture of ``PROBE``, by name."""
    height, width = PROBE
    count = len(config["classes"])
    cells = zip(MAPS, STRIDES, strict=True)
    shapes = {name: (1, count, height // one, width // one) for name, one in cells}
    shapes |= {name: (count, 1, 2 * one, 2 * one) for name, one in KERNELS.items()}
    return shapes | {name: (1, count) for name in _optional(config)}


def fingerprint(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def weights_of(file: Path) -> str:
    """The SHA-256 of the weights that an int8 file was made from; empty if it does not tell.

    Raises:
        InputError: If it is damaged.
    """
    return _origin(_open_session(file)).get(WEIGHTS_KEY, "")


def _origin(session: "onnxruntime.InferenceSession") -> dict[str, str]:
    return session.get_modelmeta().custom_metadata_map


def _open_session(file: Path) -> "onnxruntime.InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"ONNX Runtime cannot be imported ({error}).") from error
    options = onnxruntime.SessionOptions()
    # Its own choice counts two threads of one core once, and half of a small host would idle.
    options.intra_op_num_threads = count_cores()
    # A plan of memory is kept for every size of photo; and without one it is a little faster.
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # what it would log is raised as well
    # A stranger's file may say that weights lie in another one. It would be looked for in the
    # working folder, and what is in there could be read off the answers.
    options.add_session_config_entry(EXTERNAL_FOLDER, str(file.parent))
    try:
        content = amx.adapted(file)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class of its own for each kind of damage
        reason = str(error).rpartition("failed:")[2].partition("\n")[0]
        raise InputError(f"{file} is damaged or cannot be run here ({reason}).") from error


ENGINES: dict[str, Callable[[Path, str | None], Engine]] = {
    "onnx": OnnxEngine.load,
    "torch": TorchEngine.load,
}
"""Ways to run a checkpoint folder on a device."""


def load_engine(folder: Path, name: str = "auto", device: str | None = None) -> Engine:
    """Load a checkpoint folder into an engine.

    Args:
        folder: A checkpoint folder.
        name: A key of ``ENGINES``, or ``auto``: onnx on a CPU, torch on a GPU, and torch also,
            with a line in the log, where the int8 file cannot be used.
        device: As torch names it; found if None.

    Raises:
        InputError: If there is no such engine or device, the checkpoint is damaged, or its int8
            file cannot be used and torch is not installed.
    """
    if name in ENGINES:
        return ENGINES[name](folder, device)
    if name != "auto":
        raise InputError(
            f"There is no engine {name!r}; choose from {', '.join(('auto', *ENGINES))}."
        )
    if device is None and has_gpu():
        try:
            return TorchEngine.load(folder, None)
        except InputError as error:
            LOG.warning("%s The CPU is used instead.", error)
        device = "cpu"
    if device in (None, "cpu"):
        try:
            return OnnxEngine.load(folder)
        except InputError as error:
            if find_spec("torch") is None:
                raise
            LOG.warning("%s The torch engine is used instead, which is slower.", error)
    return TorchEngine.load(folder, device)


def has_gpu() -> bool:
    """Whether torch would find a GPU.

    Only torch knows, and importing it takes seconds and a third of a gigabyte. So it is asked only
    where there is a sign of a GPU: the driver's device file (NVIDIA's, AMD's, Windows' in Linux),
    NVIDIA's tool, or a Mac.
    """
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    is_likely = sys.platform == "darwin" or any(Path(one).exists() for one in devices)
    is_likely = is_likely or shutil.which("nvidia-smi") is not None
    return is_likely and find_spec("torch") is not None and _best_device() != "cpu"
