"""Saliency of pixels as the gradient of the loss on the clean image."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.api import Backbone, Criterion


def input_saliency(backbone: Backbone, images: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
    """Root of the mean over channels of the squared gradient of the loss at the input, (B, H, W) float32, detached.

    images: normalised (B, C, H, W). labels: (B,) int64. One forward pass and one backward pass to the input, which
    leaves the parameters' gradients alone; the losses of the batch are added. Call it inside `backbone.probe()`.
    """
    with torch.enable_grad():
        inputs = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(criterion(backbone(inputs), labels).sum(), inputs)
    return (gradient.float() ** 2).mean(1).sqrt()
