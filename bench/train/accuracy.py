"""Accuracy on a split while training goes on; the evaluators measure everything else afterwards."""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.feeds import EvalFeed
from bench.data.normalise import Normaliser

EVALUATION_BATCH = 500


class Accuracy(TypedDict):
    """top1 in [0, 1], nll in nats, n images."""

    top1: float
    nll: float
    n: int


@torch.no_grad()
def measure_accuracy(backbone: nn.Module, normalise: Normaliser, feed: EvalFeed) -> Accuracy:
    """Top-1 accuracy and mean negative log-likelihood in eval mode and float32; one host sync."""
    was_training = backbone.training
    backbone.eval()
    correct: Tensor | float = 0.0
    nll: Tensor | float = 0.0
    try:
        for images, labels in feed.batches(EVALUATION_BATCH):
            logits = backbone(normalise(images)).float()
            correct = correct + (logits.argmax(dim=1) == labels).sum()
            nll = nll + F.cross_entropy(logits, labels, reduction="sum")
    finally:
        backbone.train(was_training)
    return {"top1": float(correct) / feed.size, "nll": float(nll) / feed.size, "n": feed.size}
