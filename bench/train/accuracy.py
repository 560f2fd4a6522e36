"""Accuracy on a split while training goes on; the evaluators measure everything else afterwards."""

from __future__ import annotations

import functools
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.feeds import EvalFeed
from bench.data.normalise import Normaliser
from bench.train.collective import dealt_back
from bench.train.ranks import ONE_RANK, Ranks

EVALUATION_BATCH = 500


class Accuracy(TypedDict):
    """top1 in [0, 1], nll in nats, n images."""

    top1: float
    nll: float
    n: int


@torch.no_grad()
def measure_accuracy(backbone: nn.Module, normalise: Normaliser, feed: EvalFeed, ranks: Ranks = ONE_RANK) -> Accuracy:
    """Top-1 accuracy and mean negative log-likelihood in eval mode and float32; one host sync.

    The processes of `ranks` share the batches, each image seen once; all get the numbers that one alone would get.
    """
    was_training = backbone.training
    backbone.eval()
    found: list[Tensor] = []
    try:
        for images, labels in feed.batches(EVALUATION_BATCH, dealt=(ranks.process, ranks.processes)):
            logits = backbone(normalise(images)).float()
            correct = (logits.argmax(dim=1) == labels).sum()
            found.append(torch.stack([correct.float(), F.cross_entropy(logits, labels, reduction="sum")]))
    finally:
        backbone.train(was_training)
    by_batch = dealt_back(ranks, torch.stack(found).tolist() if found else [])
    correct = sum(hits for hits, _ in by_batch)
    nll = functools.reduce(torch.add, torch.tensor([loss for _, loss in by_batch]).unbind())
    return {"top1": correct / feed.size, "nll": float(nll) / feed.size, "n": feed.size}
