"""Running a trained network over a split: evaluation mode, float32, no gradient, nothing left changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BadInput
from bench.evals.api import Context, EvalFeed, Transform


class Predictions(NamedTuple):
    """What a network says about a split, in the split's order, on the CPU."""

    logits: Tensor
    """(N, K) float32."""
    labels: Tensor
    """(N,) int64."""

    def top1(self) -> np.ndarray:
        """Predicted class of each image (N,): uint8 up to 256 classes, else uint16."""
        return self.logits.argmax(dim=1).numpy().astype(np.uint8 if self.logits.shape[1] <= 256 else np.uint16)


@contextmanager
def evaluation_mode(backbone: nn.Module, device: torch.device) -> Iterator[None]:
    """Dropout off, BatchNorm on its running statistics, full float32; everything is as it was at the end.

    Autocast and TF32 are off: with TF32 a GPU would give other logits than a CPU from the third digit on.
    """
    modes = [(module, module.training) for module in backbone.modules()]
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    shortened = cudnn.allow_tf32, matmul.allow_tf32
    backbone.eval()
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = shortened
        for module, training in modes:
            module.training = training


def predictions(context: Context, split: str = "test", *, batch_size: int = 512) -> Predictions:
    """Logits of every image of a split, one pass."""
    return predict(context, context.split(split), None, batch_size)


def predict(context: Context, feed: EvalFeed, transform: Transform | None, batch_size: int) -> Predictions:
    """Logits of every image of a feed after `transform`, one pass."""
    logits, labels = [], []
    with evaluation_mode(context.backbone, context.device), torch.inference_mode():
        for images, targets in feed.batches(batch_size, transform):
            logits.append(context.backbone(context.normalise(images)).float())
            labels.append(targets)
    return Predictions(torch.cat(logits).cpu(), torch.cat(labels).cpu())


def accuracy(context: Context, feed: EvalFeed, transform: Transform | None, batch_size: int) -> float:
    """Share of images whose largest logit is the label's. BadInput where a logit is not finite."""
    hits = torch.zeros((), dtype=torch.int64, device=context.device)
    broken = torch.zeros((), dtype=torch.int64, device=context.device)
    with evaluation_mode(context.backbone, context.device), torch.inference_mode():
        for images, targets in feed.batches(batch_size, transform):
            logits = context.backbone(context.normalise(images))
            hits += (logits.argmax(dim=1) == targets).sum()
            broken += (~logits.isfinite()).any(dim=1).sum()
    if broken:
        raise BadInput(f"the network's logits are not finite on {broken.item()} of {feed.size} images")
    return hits.item() / feed.size
