"""What learns in a run: the network, its loss and its optimizer.

The conventions. The loss is a sum over labelled pixels, which the trainer divides by their weight
in the whole step, so how a step is split does not change it, but for the channels that dropout
draws in each pass. What is frozen, or finer than the stride that is trained, is no part of the
optimizer.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import saving, vgg
from ..data.datasets import SegmentationDataset, spread
from ..head import NEEDED_AT
from ..inference.fusion import STRIDES
from ..metrics import IGNORE_INDEX
from ..model import FCN
from .config import TrainConfig
from .devices import tell

COUNTED = 500  # masks, evenly spread, in which class frequencies are counted


class Objective(nn.Module):
    """The network and its loss at every supervised stride: what a process computes in a pass.

    Args:
        model: What learns.
        stride: The finest that is supervised; all coarser ones are too.
        class_weights: (num_classes,) float, what a pixel of each class counts.
    """

    class_weights: Tensor

    def __init__(self, model: FCN, stride: int, class_weights: Tensor) -> None:
        super().__init__()
        self.model = model
        self.strides = tuple(one for one in STRIDES if one >= stride)
        self.recompute = False
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Sum the weighted cross-entropy over labelled pixels, averaged over strides.

        Args:
            images: (N, 3, H, W) float in [0, 1].
            labels: (N, H, W) int64 in [0, num_classes) or ``IGNORE_INDEX``.
        """
        fused = self.model.head.fuse(self.model.features(images), self.strides)
        given = ((stride, scores, images, labels) for stride, scores in fused.items())
        losses = [
            checkpoint(self.loss_at, *one, use_reentrant=False)
            if self.recompute
            else self.loss_at(*one)
            for one in given
        ]
        return torch.stack(losses).mean()

    def loss_at(self, stride: int, scores: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Sum the weighted cross-entropy of one stride's fused scores."""
        logits = self.model.head.upscore(stride, scores, images).float()
        return F.cross_entropy(
            logits, labels, self.class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
        )

    def checkpoint_activations(self, wanted: bool) -> None:
        """Choose whether backward computes activations again, for less memory and more time.

        Those of VGG's stages, and the logits: 150 maps of the picture's size at each stride are
        most of what a step on Scene Parsing keeps.
        """
        self.recompute = self.model.backbone.recompute = wanted

    def labelled(self, labels: Tensor) -> Tensor:
        """The weight of all labelled pixels, a scalar: what the loss is divided by."""
        padded = F.pad(self.class_weights, (0, IGNORE_INDEX + 1 - len(self.class_weights)))
        return padded[labels].sum()


def weigh_classes(train_set: SegmentationDataset, balance: float) -> Tensor:
    """What a pixel of each class counts in the loss.

    A class's frequency is its share of the pixels of the pictures that show it; at balance 1 it
    weighs the median of all frequencies divided by its own (Eigen and Fergus 2015), at 0 all
    weigh 1, and between them it is that ratio to the power of ``balance``.

    Returns:
        (num_classes,) float32; a class that was not seen weighs as much as the rarest that was.
    """
    weights = np.ones(len(train_set.classes))
    if balance:
        shown, own = np.zeros_like(weights), np.zeros_like(weights)
        for index in spread(len(train_set), COUNTED):
            labels = train_set.read_labels(index)
            pixels = np.bincount(labels[labels != IGNORE_INDEX], minlength=len(weights))
            own += pixels
            shown += pixels.sum() * (pixels > 0)
        seen = own > 0
        frequency = own[seen] / shown[seen]
        weights[seen] = (np.median(frequency) / frequency) ** balance
        weights[~seen] = weights.max()
    return torch.tensor(weights, dtype=torch.float32)


def find_weights(config: TrainConfig) -> tuple[dict[str, Tensor] | None, vgg.Normalisation]:
    """The backbone's weights, if any, and the normalisation that belongs to them."""
    if config.backbone_weights == "none":
        return None, vgg.CAFFE
    if config.backbone_weights == "imagenet":
        return vgg.download_backbone_weights(config.backbone, config.head)
    return vgg.read_backbone_weights(Path(config.backbone_weights), config.head)


def build_model(
    config: TrainConfig, train_set: SegmentationDataset, init: Path | None = None
) -> FCN:
    """A fresh network for a data set, with ImageNet's weights or those of a checkpoint."""
    source = saving.load(init) if init else None
    weights, normalisation = (
        find_weights(config) if source is None else (None, source.normalisation)
    )
    model = FCN(
        train_set.classes,
        train_set.palette,
        backbone=config.backbone,
        head=config.head,
        width=config.width,
        dropout=config.dropout,
        context=config.context,
        stride=config.stride,
        mean=normalisation.mean,
        std=normalisation.std,
        inference_size=config.size or train_set.size,
    )
    if source is not None:
        left = saving.transfer(source, model)
        tell(f"Started from {config.init}; new or left out: {', '.join(left) or 'nothing'}.")
    elif weights is not None:
        vgg.load_pretrained(model.backbone, weights)
    return model


def build_optimizer(model: FCN, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with a rate for VGG's layers and one for new layers; what is frozen is left out."""
    model.backbone.freeze(config.frozen_stages)
    for name, module in model.head.named_children():
        is_needed = NEEDED_AT[name] >= config.stride
        is_score = name.startswith("score")
        module.requires_grad_(is_needed and (is_score or config.learn_deconvolution))
    pretrained = {id(p) for stage in model.backbone.stages for p in stage.parameters()}
    if config.head == "paper":
        pretrained |= {id(p) for p in model.backbone.classifier.parameters()}
    groups = []
    for is_old, lr in ((True, config.backbone_lr), (False, config.lr)):
        chosen = [p for p in model.parameters() if (id(p) in pretrained) == is_old]
        chosen = [p for p in chosen if p.requires_grad]
        groups.append({"params": chosen, "lr": lr, "initial_lr": lr})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
