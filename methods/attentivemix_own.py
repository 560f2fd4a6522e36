"""AttentiveMix with the trained network's own attention: a partner's most attended cells pasted into an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_permutation


class AttentiveMixOwn(Method):
    """Train on images into which the cells are pasted that the network attends to most in a partner.

    Definition: the grid of cells is that of the network's last feature map; a cell's attention is the mean over the
    channels of the size of the features there. The `share` of the cells with the most attention in the partner, rounded
    and at least one, is pasted from the partner into the image at the same places. The label weight of an image is the
    exact share of its pixels that stayed; it is the same in every step.

    Defaults: share 6/49 = 0.1224, the 6 of 7x7 cells that the paper found best, and probability 1.0.

    Differences from the paper: there the attention comes from a second, pretrained ResNet-50, so this is another method
    and has another name. Attention is taken from the network in training, in training mode with BatchNorm's running
    statistics left alone. The number of cells is given as a share, because grids differ from network to network; the
    size of the features is their absolute value, which for a network that ends in a ReLU is the feature itself.

    Traps: one more forward pass a step. What a network attends to early in training is close to noise. The label weight
    of the own image is high, 0.88 on a 7x7 grid, and depends on the grid: 0.75 on 2x2.
    """

    title = "AttentiveMix (own attention)"
    paper = (
        "after Walawalkar et al., Attentive CutMix: An Enhanced Data Augmentation Approach for Deep Learning Based "
        "Image Classification, ICASSP 2020, arXiv 2003.13048"
    )
    family = "saliency"
    venue = "after ICASSP 2020"
    mixes = "input"
    proved = "a loop over images and cells, the share in closed form"

    def __init__(
        self,
        *,
        share: Annotated[float, Gt(0), Le(1)] = 0.1224489796,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        super().__init__()
        self.share = share
        self.probability = probability

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """applied: () bool, whether this batch is mixed. permutation: (B,) int64."""
        applied = torch.tensor(key.fold("apply").generator().random() < self.probability)
        return Draws(tensors={"applied": applied, "permutation": draw_permutation(key, shape.size)})

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """pasted: (B, 1, H, W) bool, true where an image is pasted over, if the batch is mixed."""
        (images,) = batch.views
        with torch.no_grad(), backbone.probe():
            attention = backbone.features(images).spatial.float().abs().mean(1)
        cells = most_attended(attention, self.share)[draws["permutation"]]
        size = (images.shape[-2], images.shape[-1])
        return {"pasted": functional.interpolate(cells[:, None].float(), size, mode="nearest") > 0}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the pasted images."""
        (images,) = batch.views
        permutation, pasted = draws["permutation"], draws["pasted"] & draws["applied"]
        logits = backbone(torch.where(pasted, images[permutation], images))
        lam = 1 - pasted.float().mean((1, 2, 3))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Maps of one cell, which would be the whole image."""
        _, height, width = task.input_shape
        if max(height, width) <= backbone.reduction():
            return "the last map is 1x1, so its only cell is the whole image"
        return None


def most_attended(attention: Tensor, share: float) -> Tensor:
    """(B, h, w) bool: the round(share * h * w) cells, at least one, with the most attention (B, h, w) in each image."""
    flat = attention.flatten(1)
    count = max(1, round(share * flat.shape[1]))
    chosen = flat.topk(count, dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view(attention.shape)
