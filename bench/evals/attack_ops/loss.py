"""What attacks maximise, one value an image, and its gradient by the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.evals.attack_ops.subset import PixelModel

AttackLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""logits (B, K), labels (B,) int64, classes to be led to (B,) int64, which some do not look at, to losses (B,)."""
TINY = 1e-12
"""Keeps a ratio of equal logits finite."""


class Ascent(NamedTuple):
    """A network's answer at some images, without graph."""

    logits: Tensor
    """(B, K)."""
    losses: Tensor
    """(B,)."""
    gradient: Tensor
    """(B, C, H, W), of the sum of the losses."""


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """-log softmax of the label's logit; it saturates where the network is confident."""
    return F.cross_entropy(logits, labels, reduction="none")


def logits_ratio(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Difference of logits ratio (Croce and Hein 2020, eq. 6): no shift or scale of the logits changes it.

    -(z_y - max of the other z) / (z_(1) - z_(3)), z_(i) the i-th largest. Needs three classes or more.
    """
    best = logits.topk(3, dim=1).values
    own = _of(logits, labels)
    other = torch.where(logits.argmax(dim=1) == labels, best[:, 1], best[:, 0])
    return (other - own) / (best[:, 0] - best[:, 2] + TINY)


def targeted_logits_ratio(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted difference of logits ratio (Croce and Hein 2020, eq. 7).

    -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), z_(i) the i-th largest. Needs four classes or more.
    """
    best = logits.topk(4, dim=1).values
    return (_of(logits, targets) - _of(logits, labels)) / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + TINY)


def likely_others(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The `count` classes of largest logit other than the label, (B, count) int64, most likely first; count < K."""
    return logits.scatter(1, labels[:, None], -torch.inf).topk(count, dim=1).indices


def ascent(model: PixelModel, pixels: Tensor, loss: AttackLoss, labels: Tensor, targets: Tensor) -> Ascent:
    """Losses and their gradient by the pixels. The network's parameters get no gradient."""
    leaf = pixels.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        losses = loss(logits, labels, targets)
        gradient = torch.autograd.grad(losses.sum(), leaf)[0]
    return Ascent(logits.detach(), losses.detach(), gradient)


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
