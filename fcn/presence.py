"""Which classes a picture shows at all, from features pooled over the whole of it.

The score of a cell depends mostly on what is near it, which may take the fur of a toy for a dog.
Pooled features also tell of the room around it. A linear classifier per class on them, as EncNet
has it (Zhang et al. 2018), is fitted after training: it changes no other layer, and what a photo
cannot show is left out of it. The convention: it is fitted on whole photos at the size that the
network serves them at, of the training split, and what it says is weighed on photos of val.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vgg import WIDTHS, Features

EPOCHS = 25
BATCH_SIZE = 128
LR = 3e-3
WEIGHT_DECAY = 0.1
DROPOUT = 0.5  # of the pooled features: there are about as many of them as there are photos
SPREAD = 2.0  # how far ``calibrate`` goes with few photos: a Gaussian prior's standard deviation


class Presence(nn.Module):
    """Tell which classes a picture shows, by mean and maximum of pool4's and pool5's channels.

    Its weights are buffers: ``fit`` gives them, and no optimizer of a training run has them.

    Args:
        num_classes: How many classes.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_classes, 2 * sum(WIDTHS[3:])))
        self.register_buffer("bias", torch.zeros(num_classes))

    def forward(self, features: Features) -> Tensor:
        """The logit of each class's presence, (N, num_classes)."""
        return F.linear(pool(features), self.weight, self.bias)

    @torch.no_grad()
    def fit(self, pooled: Tensor, shown: Tensor) -> None:
        """Fit by logistic regression; the same input gives the same weights.

        Nothing is learnt of how often the split shows a class, which the photos to come may not
        know of: there is a logit of 0 where all features are as in the mean photo.

        Args:
            pooled: (M, features) float32, what ``pool`` gives of M photos, at least one.
            shown: (M, num_classes) float32, 1 for the classes that a photo shows, else 0.
        """
        generator = torch.Generator().manual_seed(0)
        mean, spread = pooled.mean(0), pooled.std(0, correction=0) + 1e-3
        inputs, weight = (pooled - mean) / spread, torch.zeros_like(self.weight)
        optimizer = torch.optim.AdamW([weight], weight_decay=WEIGHT_DECAY)
        steps = EPOCHS * -(-len(inputs) // BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps)
        for _ in range(EPOCHS):
            for some in torch.randperm(len(inputs), generator=generator).split(BATCH_SIZE):
                kept = torch.rand(inputs[some].shape, generator=generator) >= DROPOUT
                dropped = inputs[some] * kept / (1 - DROPOUT)
                # The gradient of the mean binary cross-entropy.
                surplus = torch.sigmoid(dropped @ weight.T) - shown[some]
                weight.grad = surplus.T @ dropped / surplus.numel()
                optimizer.step()
                schedule.step()
        self.weight.copy_(weight / spread)
        self.bias.copy_(-self.weight @ mean)

    def calibrate(self, logits: Tensor, highest: Tensor, shown: Tensor) -> None:
        """Scale all logits alike and shift each class's, as photos tell that it did not learn from.

        Afterwards the sigmoid of a class's logit, times its highest probability in any cell, is
        how probable it is that the photo shows the class (Platt 1999), where classes are as
        frequent as in these photos.

        Args:
            logits: (M, num_classes) float, what it says of M photos now.
            highest: (M, num_classes) float in [0, 1], the classes' highest probabilities.
            shown: (M, num_classes), as for ``fit``.
        """
        logits, highest, shown = logits.double(), highest.double(), shown.double()
        # The log of the scale, the shift of all, and what each class adds to that.
        found = torch.zeros(2 + logits.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([found], max_iter=300, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            evidence = found[0].exp() * logits + found[1] + found[2:]
            probable = highest * torch.sigmoid(evidence)
            missed = F.binary_cross_entropy(probable, shown, reduction="sum")
            total: Tensor = missed + found.square().sum() / (2 * SPREAD**2)
            total.backward()
            return total

        optimizer.step(loss)
        with torch.no_grad():
            scale = found[0].exp()
            self.weight.mul_(scale)
            self.bias.mul_(scale).add_(found[1] + found[2:])


def pool(features: Features) -> Tensor:
    """Pool pool4 and pool5 over the picture: mean and maximum by channel, (N, 2048) float32."""
    taps = (features.pool4.float(), features.pool5.float())
    return torch.cat([one for tap in taps for one in (tap.mean((2, 3)), tap.amax((2, 3)))], 1)
