"""VGG16 and VGG19 as fully convolutional networks: the left of the paper's Figure 3.

Simonyan and Zisserman, "Very Deep Convolutional Networks" (2014). The stages are data, layer names
those of its Caffe release (``conv3_2``), and fc6 and fc7 are convolutions (Long et al. 2015,
section 3.1).

The convention: every convolution keeps its input's size and every pooling halves it, rounding up.
So pool3, pool4 and fc7 lie exactly at strides 8, 16 and 32 for any picture from 1x1 up, with no
offset to crop later.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .errors import InputError

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
HEADS = ("compact", "paper")  # of VGG: its fc6 and fc7; what makes scores of them is fcn/head.py
PAPER_WIDTH = 4096


class Normalisation(NamedTuple):
    """Per-channel RGB mean and standard deviation of pictures in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CAFFE = Normalisation((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)
TORCHVISION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# torchvision publishes Caffe's VGG16 without fc6 and fc7, and its own training of both networks
# with them. What a network must subtract and divide by depends on which of the two it starts from.
# Names of weights, and not the weights: torchvision takes seconds to import, and only a download
# needs it.
PRETRAINED: dict[tuple[str, str], tuple[str, Normalisation]] = {
    ("vgg16", "compact"): ("VGG16_Weights.IMAGENET1K_FEATURES", CAFFE),
    ("vgg16", "paper"): ("VGG16_Weights.IMAGENET1K_V1", TORCHVISION),
    ("vgg19", "compact"): ("VGG19_Weights.IMAGENET1K_V1", TORCHVISION),
    ("vgg19", "paper"): ("VGG19_Weights.IMAGENET1K_V1", TORCHVISION),
}


class Features(NamedTuple):
    """What a backbone gives a head; sizes round up."""

    pool3: Tensor  # (N, 256, H/8, W/8)
    pool4: Tensor  # (N, 512, H/16, W/16)
    pool5: Tensor  # (N, 512, H/32, W/32)
    fc7: Tensor  # (N, fc7 width, H/32, W/32)


def initialised(layer: nn.Conv2d) -> nn.Conv2d:
    """A convolution with He's initialisation, without which a deep VGG does not start to learn."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # Conv2d's bias is optional
    return layer


def build_stage(number: int, in_channels: int, width: int, depth: int) -> nn.Sequential:
    """One VGG stage: ``depth`` 3x3 convolutions with ReLU, then a pooling that halves the size."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(1, depth + 1):
        layers[f"conv{number}_{index}"] = initialised(nn.Conv2d(in_channels, width, 3, padding=1))
        layers[f"relu{number}_{index}"] = nn.ReLU(inplace=True)
        in_channels = width
    layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
    return nn.Sequential(layers)


class ContextConv2d(nn.Conv2d):
    """A convolution that adds to every cell what the mean of the whole map tells.

    So a cell knows the picture around it however far that reaches: ParseNet (Liu et al. 2015), but
    the mean has weights of its own, which are 0 at first, and no normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, dilation: int) -> None:
        super().__init__(in_channels, out_channels, size, padding=dilation, dilation=dilation)
        self.context = nn.Linear(in_channels, out_channels, bias=False)
        nn.init.zeros_(self.context.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, out_channels, h, w)."""
        return super().forward(input) + self.context(input.mean((2, 3)))[:, :, None, None]


def build_classifier(head: str, width: int, dropout: float, context: bool) -> nn.Sequential:
    """fc6 and fc7 as convolutions over pool5.

    ``paper`` is VGG's own 7x7x4096, 120 million weights. ``compact`` reaches 5x5 cells of pool5
    with a dilated 3x3 and starts untrained: DeepLab-LargeFOV's economy (Chen et al. 2015).
    """
    if head == "paper":
        fc6, width = initialised(nn.Conv2d(512, PAPER_WIDTH, 7, padding=3)), PAPER_WIDTH
    elif context:
        fc6 = initialised(ContextConv2d(512, width, 3, dilation=2))
    else:
        fc6 = initialised(nn.Conv2d(512, width, 3, padding=2, dilation=2))
    fc7 = initialised(nn.Conv2d(width, width, 1))
    layers: OrderedDict[str, nn.Module] = OrderedDict(fc6=fc6, relu6=nn.ReLU(inplace=True))
    layers |= {"drop6": nn.Dropout2d(dropout), "fc7": fc7}
    layers |= {"relu7": nn.ReLU(inplace=True), "drop7": nn.Dropout2d(dropout)}
    return nn.Sequential(layers)


class VGG(nn.Module):
    """VGG's five stages, fc6 and fc7.

    Attributes:
        recompute: Whether backward computes a stage's activations again, instead of keeping them.

    Args:
        name: A key of ``DEPTHS``.
        head: One of ``HEADS``: which fc6 and fc7.
        width: Channels of the compact fc6 and fc7; the paper's have 4096.
        dropout: Share of fc6's and fc7's channels dropped in training.
        context: Whether the compact fc6 also sees the mean of the whole picture.

    Raises:
        ValueError: If the name or the head is unknown.
    """

    def __init__(
        self,
        name: str = "vgg16",
        head: str = "compact",
        width: int = 1024,
        dropout: float = 0.3,
        context: bool = False,
    ) -> None:
        super().__init__()
        if name not in DEPTHS:
            raise ValueError(f"backbone is {name!r}, but must be one of {', '.join(DEPTHS)}")
        if head not in HEADS:
            raise ValueError(f"head is {head!r}, but must be one of {', '.join(HEADS)}")
        in_channels = (3, *WIDTHS)
        for index, depth in enumerate(DEPTHS[name]):
            stage = build_stage(index + 1, in_channels[index], WIDTHS[index], depth)
            self.add_module(f"stage{index + 1}", stage)
        self.classifier = build_classifier(head, width, dropout, context)
        self.head, self.recompute = head, False
        self.channels = (WIDTHS[2], WIDTHS[3], PAPER_WIDTH if head == "paper" else width)

    @property
    def stages(self) -> list[nn.Module]:
        """The five stages, finest first."""
        return [self.get_submodule(f"stage{number}") for number in range(1, len(WIDTHS) + 1)]

    def convolutions(self) -> list[nn.Module]:
        """The stages' convolutions from conv1_1 on, without fc6 and fc7."""
        return [m for stage in self.stages for m in stage.children() if isinstance(m, nn.Conv2d)]

    def freeze(self, stages: int) -> None:
        """Keep the first ``stages`` (0 to 5) as they are: no gradient, no memory for it."""
        for index, stage in enumerate(self.stages):
            stage.requires_grad_(index >= stages)

    def forward(self, images: Tensor) -> Features:
        """Map normalised images (N, 3, H, W) to ``Features``."""
        pools = []
        x = images
        for stage in self.stages:
            x = checkpoint(stage, x, use_reentrant=False) if self.recompute else stage(x)
            pools.append(x)
        return Features(pools[2], pools[3], pools[4], self.classifier(x))


def load_pretrained(vgg: VGG, weights: Mapping[str, Tensor]) -> None:
    """Copy ImageNet weights under torchvision's names into a backbone.

    The thirteen or sixteen ``features.N`` pairs go to the convolutions in order. A ``paper`` head
    also takes ``classifier.0`` and ``classifier.3``: the very numbers of VGG's fully connected
    layers, seen as 7x7 and 1x1 kernels. A VGG19 also takes VGG16's thirteen, see ``deepen``.

    Raises:
        InputError: If a layer is missing or has another shape.
    """
    names = sorted(
        {name.rpartition(".")[0] for name in weights if name.startswith("features.")},
        key=lambda name: int(name.split(".")[1]),
    )
    targets = vgg.convolutions()
    if len(names) == sum(DEPTHS["vgg16"]) < len(targets):
        targets = deepen(vgg)
    if len(names) != len(targets):
        raise InputError(
            f"the backbone weights hold {len(names)} convolutions, but this network has"
            f" {len(targets)}: VGG16 has 13 and VGG19 has 16."
        )
    if vgg.head == "paper":
        names += ["classifier.0", "classifier.3"]
        targets += [vgg.classifier.get_submodule(name) for name in ("fc6", "fc7")]
    for name, layer in zip(names, targets, strict=True):
        copy_layer(name, weights, layer)


@torch.no_grad()
def deepen(vgg: VGG) -> list[nn.Module]:
    """Make the three convolutions that only VGG19 has do nothing, so that it starts as VGG16.

    What they take has been through a ReLU, so the identity followed by a ReLU changes nothing.

    Returns:
        The thirteen others, in order.
    """
    shared: list[nn.Module] = []
    for stage, depth in zip(vgg.stages, DEPTHS["vgg16"], strict=True):
        convolutions = [layer for layer in stage.children() if isinstance(layer, nn.Conv2d)]
        shared += convolutions[:depth]
        for layer in convolutions[depth:]:
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # Conv2d's bias is optional
    return shared


@torch.no_grad()
def copy_layer(name: str, weights: Mapping[str, Tensor], layer: nn.Module) -> None:
    """Copy ``name.weight`` and ``name.bias`` into a convolution; fc6's matrix becomes a kernel."""
    for kind in ("weight", "bias"):
        target = layer.get_parameter(kind)
        source = weights.get(f"{name}.{kind}")
        flat = target.shape[:1] if kind == "bias" else target.flatten(1).shape
        if source is None or source.shape not in (target.shape, flat):
            got = "is missing" if source is None else f"has shape {tuple(source.shape)}"
            raise InputError(
                f"{name}.{kind} {got} in the backbone weights, where {tuple(target.shape)} is"
                " needed."
            )
        target.copy_(source.reshape(target.shape))


def read_backbone_weights(file: Path, head: str) -> tuple[dict[str, Tensor], Normalisation]:
    """Read a local safetensors file of backbone weights.

    Args:
        file: Tensors under torchvision's names; its metadata may hold ``mean`` and ``std`` as JSON
            lists, else those are taken that belong to torchvision's weights of the same layers:
            its VGG16 without fc6 and fc7 is Caffe's.
        head: Of the network that they are for, one of ``HEADS``.

    Raises:
        InputError: If the file is missing or not safetensors.
    """
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            # The opened file has keys() but cannot be iterated over.
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        kernels = sum(
            name.startswith("features.") and one.ndim == 4 for name, one in weights.items()
        )
        name = "vgg16" if kernels == sum(DEPTHS["vgg16"]) else "vgg19"
        # Weights with a whole fc6 are of torchvision's own training, whatever the head.
        fc6 = weights.get("classifier.0.weight")
        is_whole = fc6 is not None and bool(fc6.isfinite().all())
        published = PRETRAINED[name, "paper" if is_whole else head][1]
        normalisation = Normalisation(
            *(read_triple(metadata, key, getattr(published, key)) for key in ("mean", "std"))
        )
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read as backbone weights: {error}") from error
    return weights, normalisation


def read_triple(
    metadata: Mapping[str, str], key: str, otherwise: tuple[float, float, float]
) -> tuple[float, float, float]:
    """One number per channel: a JSON list in the metadata, or what is taken without."""
    red, green, blue = json.loads(metadata[key]) if key in metadata else otherwise
    return float(red), float(green), float(blue)


def download_backbone_weights(name: str, head: str) -> tuple[dict[str, Tensor], Normalisation]:
    """Fetch torchvision's ImageNet weights for a backbone and head, cached by torch.hub.

    Raises:
        InputError: If they cannot be fetched or kept.
    """
    from torchvision.models import get_weight

    weights_name, normalisation = PRETRAINED[name, head]
    published = get_weight(weights_name)
    cache = Path(torch.hub.get_dir(), "checkpoints")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Of the processes of a machine one downloads, and the others find it there.
        with FileLock(cache / f".{Path(published.url).name}.lock"):
            weights = published.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # the latter for another hash
        raise InputError(
            f"VGG's ImageNet weights cannot be fetched from {published.url} ({error}). Give a"
            " safetensors file of them by --backbone-weights FILE, or try again."
        ) from error
    return dict(weights), normalisation
