"""Scores at strides 32, 16 and 8, brought back to the picture's size and fused: Figure 3's right.

The one convention about alignment: cell i of a map at stride s covers pixels [s i, s i + s), so
maps are aligned at their top left corner. A deconvolution of kernel 2s, stride s and padding s/2
keeps that alignment exactly, so fusing two maps only ever cuts surplus rows and columns at the
bottom and the right: no crop offsets (Caffe's layout, with 100 pixels of padding, needs five).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inference.fusion import STRIDES
from .vgg import Features

# The coarsest stride that needs a layer.
NEEDED_AT = {
    "score_fr": 32,
    "upscore32": 32,
    "upscore2": 16,
    "score_pool4": 16,
    "upscore16": 16,
    "upscore_pool4": 8,
    "score_pool3": 8,
    "upscore8": 8,
}


def bilinear_kernel(factor: int) -> Tensor:
    """The (2 factor, 2 factor) kernel that makes a deconvolution interpolate bilinearly.

    Example:
        >>> bilinear_kernel(2)[0]
        tensor([0.0625, 0.1875, 0.1875, 0.0625])
    """
    distance = (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    return torch.outer(1 - distance, 1 - distance)


class Upscore(nn.Module):
    """Bring scores up by a factor: one transposed convolution per class, bilinear at first.

    Classes do not mix (the weight is grouped), so that 150 of them cost 150 kernels and not 22,500.

    Args:
        num_classes: Channels in and out.
        factor: How many times larger the output is; even.
    """

    def __init__(self, num_classes: int, factor: int) -> None:
        super().__init__()
        kernel = bilinear_kernel(factor).expand(num_classes, 1, -1, -1)
        self.weight = nn.Parameter(kernel.clone())

    def forward(self, scores: Tensor, like: Tensor) -> Tensor:
        """Upsample (N, C, h, w) and cut to the height and width of ``like``, no larger ones."""
        return deconvolve(scores, self.weight)[:, :, : like.shape[2], : like.shape[3]]


def deconvolve(scores: Tensor, weight: Tensor) -> Tensor:
    """``F.conv_transpose2d`` of stride s and padding s/2, each channel by itself, but fast.

    Each block of s x s pixels is reached by two by two scores alone, so it is those four times
    four parts of the kernel: a matrix product. PyTorch's own grouped deconvolution is slow, on a
    CPU most of all in bfloat16. In float32 whatever autocast says: the products are small, and
    scores are worth their digits.

    Args:
        scores: (N, C, h, w).
        weight: (C, 1, 2s, 2s).

    Returns:
        (N, C, s h, s w) float32.
    """
    (count, channels, height, width), factor = scores.shape, weight.shape[-1] // 2
    padded = F.pad(scores.float(), (1, 1, 1, 1))
    rows, columns = height + 1, width + 1
    corners = [padded[:, :, y : y + rows, x : x + columns] for y in (0, 1) for x in (0, 1)]
    near = torch.stack(corners, -1).transpose(0, 1).reshape(channels, -1, 4)
    # Of a kernel's two halves, the second is what the score before reaches a block with.
    parts = weight.float().reshape(channels, 2, factor, 2, factor).flip(1, 3).transpose(2, 3)
    with torch.autocast(scores.device.type, enabled=False):
        blocks = near @ parts.reshape(channels, 4, factor * factor)
    blocks = blocks.reshape(channels, count, rows, columns, factor, factor)
    whole = blocks.permute(1, 0, 2, 4, 3, 5).reshape(count, channels, rows * factor, -1)
    first = factor // 2
    return whole[:, :, first : first + height * factor, first : first + width * factor]


class SkipFusion(nn.Module):
    """The FCN head: score each tap, then fuse from coarse to fine (FCN-32s, 16s and 8s).

    All parameters exist whatever stride is asked for, so one set of weights answers at each.

    Args:
        channels: Of pool3, pool4 and fc7.
        num_classes: Channels of the scores.
    """

    pool3_scale: Tensor
    pool4_scale: Tensor

    def __init__(self, channels: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.score_pool3 = nn.Conv2d(channels[0], num_classes, 1)
        self.score_pool4 = nn.Conv2d(channels[1], num_classes, 1)
        self.score_fr = nn.Conv2d(channels[2], num_classes, 1)
        for layer in (self.score_pool3, self.score_pool4, self.score_fr):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # Conv2d's bias is optional
        self.upscore2 = Upscore(num_classes, 2)
        self.upscore_pool4 = Upscore(num_classes, 2)
        self.upscore32 = Upscore(num_classes, 32)
        self.upscore16 = Upscore(num_classes, 16)
        self.upscore8 = Upscore(num_classes, 8)
        # Pooled features of Caffe's weights are in the hundreds; those of others have other sizes.
        # So each tap is scaled first, see ``calibrate``. Long et al. have 0.0001 and 0.01 for it.
        self.register_buffer("pool3_scale", torch.ones(()))
        self.register_buffer("pool4_scale", torch.ones(()))

    def scores(self, features: Features) -> dict[str, Tensor]:
        """The low-resolution class scores of each tap, by layer name."""
        return {
            "score_fr": self.score_fr(features.fc7),  # (N, num_classes, H/32, W/32)
            "score_pool4": self.score_pool4(features.pool4 * self.pool4_scale),  # H/16
            "score_pool3": self.score_pool3(features.pool3 * self.pool3_scale),  # H/8
        }

    def fuse(self, features: Features, strides: tuple[int, ...] = STRIDES) -> dict[int, Tensor]:
        """Scores (N, num_classes, H/stride, W/stride) of each of ``strides``, coarse to fine."""
        tap = self.scores(features)
        fused = {32: tap["score_fr"]}
        if min(strides) < 32:
            fused[16] = self.upscore2(fused[32], tap["score_pool4"]) + tap["score_pool4"]
        if min(strides) < 16:
            fused[8] = self.upscore_pool4(fused[16], tap["score_pool3"]) + tap["score_pool3"]
        return {stride: scores for stride, scores in fused.items() if stride in strides}

    def upscore(self, stride: int, fused: Tensor, images: Tensor) -> Tensor:
        """Bring the scores of one stride to the height and width of ``images`` (N, 3, H, W)."""
        logits: Tensor = self.get_submodule(f"upscore{stride}")(fused, images)
        return logits

    def forward(
        self, features: Features, images: Tensor, strides: tuple[int, ...] = STRIDES
    ) -> dict[int, Tensor]:
        """Logits at the size of ``images`` for each of ``strides``.

        Args:
            features: Of the backbone.
            images: (N, 3, H, W); only their height and width are used.
            strides: Which of 32, 16 and 8 to answer.

        Returns:
            Logits (N, num_classes, H, W) by stride.
        """
        fused = self.fuse(features, strides)
        return {stride: self.upscore(stride, scores, images) for stride, scores in fused.items()}

    @torch.no_grad()
    def calibrate(self, features: Features, pool3: float = 0.5, pool4: float = 1.0) -> None:
        """Scale the finer taps so that their root mean square on ``features`` is as given."""
        for scale, tap, target in (
            (self.pool3_scale, features.pool3, pool3),
            (self.pool4_scale, features.pool4, pool4),
        ):
            scale.copy_(target / tap.float().square().mean().sqrt().clamp_min(1e-12))
