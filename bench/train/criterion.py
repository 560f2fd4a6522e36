"""The protocol's loss, one value an image and linear in the label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.spec import ProtocolSpec
from methods.api import Criterion


def build_criterion(protocol: ProtocolSpec, num_classes: int) -> Criterion:
    """Cross entropy with label smoothing, or the binary cross entropy of the softmax outputs (Manifold Mixup's code).

    Both take logits (B, K) and labels (B,) int64, compute in float32 and return (B,).
    """
    smoothing = protocol.label_smoothing

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)

    def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(logits.float(), dim=1)
        log_not_p = torch.log((1 - log_p.exp()).clamp_min(1e-12))
        target = F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes
        return -(target * log_p + (1 - target) * log_not_p).mean(dim=1)

    return cross_entropy if protocol.loss == "cross_entropy" else binary_cross_entropy
