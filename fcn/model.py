"""The FCN: normalise, VGG, head. One class for every backbone, head and stride.

A picture goes in as RGB in [0, 1] and logits come out at its size. Everything that a program needs
to serve a network is an argument of ``FCN`` and comes back from ``config.json``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .checkpoint import CONFIG_NAME, WEIGHTS_NAME, resolve, write_json
from .errors import InputError
from .head import SkipFusion
from .inference.fusion import STRIDES
from .presence import Presence
from .vgg import CAFFE, VGG, Features, Normalisation


class FCN(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="fcn",
    pipeline_tag="image-segmentation",
    license="other",  # for what save_pretrained writes: that of the data, which it does not know
):
    """A fully convolutional network on VGG16 or VGG19 with skip fusion.

    Args:
        classes: Names in label order.
        palette: One [red, green, blue] (0 to 255) per class.
        backbone: ``vgg16`` or ``vgg19``.
        head: ``compact`` (dilated 3x3 fc6 of ``width`` channels) or ``paper`` (7x7, 4096).
        width: Channels of the compact fc6 and fc7.
        dropout: Share of fc6's and fc7's channels dropped in training.
        context: Whether the compact fc6 also sees the mean of the whole picture.
        stride: Which of 32, 16 and 8 is answered by default. The parameters do not depend on it.
        mean: Subtracted from RGB in [0, 1]; belongs to the backbone's weights.
        std: Then divided by.
        inference_size: Long side in pixels that photos should be scaled to, enlarged twofold at
            most; 0 leaves those of up to 2,048.
        temperature: Logits divided by this give calibrated probabilities.
        absent_below: A class's highest probability in a photo, times that of its presence, below
            which it is not found there.
        doubt_below: Mean confidence of a photo below which its result deserves doubt.
        presence: Whether the network also tells which classes a picture shows at all.

    Raises:
        ValueError: If a name, a stride or the length of the palette is wrong.

    Example:
        >>> model = FCN(["sky", "road"], width=8).eval()
        >>> model(torch.rand(1, 3, 37, 51), stride=32).shape
        torch.Size([1, 2, 37, 51])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        backbone: str = "vgg16",
        head: str = "compact",
        width: int = 1024,
        dropout: float = 0.3,
        context: bool = False,
        stride: int = 8,
        mean: Sequence[float] = CAFFE.mean,
        std: Sequence[float] = CAFFE.std,
        inference_size: int = 0,
        temperature: float = 1.0,
        absent_below: float = 0.0,
        doubt_below: float = 0.0,
        presence: bool = False,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be distinct names, at least one; got {self.classes}")
        self.palette = tuple(map(tuple, palette)) if palette is not None else None
        if self.palette is not None and len(self.palette) != self.num_classes:
            raise ValueError(f"{len(self.palette)} colours for {self.num_classes} classes")
        self.stride = check_stride(stride)
        self.inference_size, self.temperature = inference_size, temperature
        self.absent_below, self.doubt_below = absent_below, doubt_below
        self._architecture: dict[str, Any] = {
            "backbone": backbone,
            "head": head,
            "width": width,
            "dropout": dropout,
            "context": context,
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
        }
        # Not in the state dict: config.json has them, and two sources could disagree.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.backbone = VGG(backbone, head, width, dropout, context)
        self.head = SkipFusion(self.backbone.channels, self.num_classes)
        self.presence = Presence(self.num_classes) if presence else None

    @property
    def num_classes(self) -> int:
        """Channels of the logits."""
        return len(self.classes)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this network, as plain JSON types."""
        return {
            "classes": list(self.classes),
            "palette": None if self.palette is None else [list(rgb) for rgb in self.palette],
            **self._architecture,
            "stride": self.stride,
            "inference_size": self.inference_size,
            "temperature": self.temperature,
            "absent_below": self.absent_below,
            "doubt_below": self.doubt_below,
            "presence": self.presence is not None,
        }

    @property
    def normalisation(self) -> Normalisation:
        """What is subtracted from pictures in [0, 1] and what they are then divided by."""
        return Normalisation(self._architecture["mean"], self._architecture["std"])

    def features(self, images: Tensor) -> Features:
        """The backbone's ``Features`` of images (N, 3, H, W) in [0, 1]."""
        return self.backbone((images - self.mean) / self.std)

    def forward(self, images: Tensor, stride: int | None = None) -> Tensor:
        """Segment a batch.

        Args:
            images: (N, 3, H, W) float RGB in [0, 1], H and W at least 1.
            stride: 32, 16 or 8: the finest map that is fused in; ``self.stride`` if None.

        Returns:
            Logits (N, num_classes, H, W).

        Raises:
            ValueError: If the stride is none of the three.
        """
        stride = check_stride(self.stride if stride is None else stride)
        return self.forward_all(images, (stride,))[stride]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """What a picture is decided by, before anything is brought to size or fused.

        Returns:
            By name the score maps of ``SkipFusion.scores``, and, if the network has it,
            ``presence`` (N, num_classes), see ``Presence``.
        """
        features = self.features(images)
        maps = self.head.scores(features)
        return maps if self.presence is None else maps | {"presence": self.presence(features)}

    def forward_all(self, images: Tensor, strides: tuple[int, ...] = STRIDES) -> dict[int, Tensor]:
        """Logits (N, num_classes, H, W) at each of the strides from one pass."""
        return self.head(self.features(images), images, strides)

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS_NAME, metadata={"format": "pt"})
        # safetensors writes for the owner alone; who serves a checkpoint is often another user.
        (save_directory / WEIGHTS_NAME).chmod(0o644)
        write_json(save_directory / CONFIG_NAME, self.config)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        **arguments: Any,
    ) -> Self:
        """Load a checkpoint for inference, from here or from the Hub.

        Args:
            pretrained_model_name_or_path: A run, its ``best`` or ``last``, or a checkpoint folder;
                a repository on the Hub if nothing here has that name.
            revision: A branch, tag or commit of that repository.
            arguments: ``token``, ``cache_dir`` and the like of ``huggingface_hub``.

        Raises:
            InputError: If what is here is no checkpoint, or is asked for by a revision.
        """
        name = Path(pretrained_model_name_or_path)
        if name.exists():
            if revision:
                raise InputError(f"{name} is a folder, and has no revision {revision}.")
            name = resolve(name)
        return super().from_pretrained(str(name), revision=revision, **arguments)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **arguments: Any) -> Self:
        """Load one safetensors file, strictly: the mixin's own would fall back to a pickle."""
        hub = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        options = {name: arguments.pop(name) for name in hub}
        if "classes" not in arguments:
            raise InputError(
                f"{model_id} is no checkpoint: there is no {CONFIG_NAME} of a network."
            )
        model = cls(**arguments)
        file = Path(model_id) / WEIGHTS_NAME
        if not Path(model_id).is_dir():
            file = Path(hf_hub_download(model_id, WEIGHTS_NAME, **options))
        model.load_state_dict(load_file(file), strict=True)
        return model.eval()


def check_stride(stride: int) -> int:
    """Return a stride if it is 32, 16 or 8.

    Raises:
        ValueError: Otherwise.
    """
    if stride not in STRIDES:
        raise ValueError(f"stride is {stride}, but must be one of {STRIDES}")
    return stride
