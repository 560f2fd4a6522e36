"""The loss of labels that are mixed from many images, through a criterion that takes one class at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from methods.api import Criterion


def soft_label_loss(criterion: Criterion, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """sum_i weights[n, i] * L(logits[n], labels[i]) for each row n: (N,) float32.

    logits (N, K); labels (B,) int64; weights (N, B) float32, at least 0. As L is linear in the label this is the loss
    against the mixed label. Images of one class are taken together where there are fewer classes than images, so the
    criterion sees N * min(B, K) rows.
    """
    classes = logits.shape[1]
    if classes <= len(labels):
        weights = weights @ functional.one_hot(labels, classes).to(weights.dtype)
        labels = torch.arange(classes, device=labels.device)
    rows, columns = weights.shape
    losses = criterion(logits.repeat_interleave(columns, 0), labels.repeat(rows))
    return (weights * losses.reshape(rows, columns)).sum(1)
