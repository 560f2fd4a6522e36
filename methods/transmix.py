"""TransMix: CutMix whose labels follow the class token's attention."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Task, mixed_loss
from methods.ops.boxes import box_mask, draw_box, paste, share_outside
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix

MIXUP, CUTMIX = "mixup", "cutmix"


class TransMix(Method):
    """Mix images as CutMix does, and weight their labels by area and by where the class token looks.

    Definition: a coin (cutmix_share) chooses CutMix or Mixup for each batch. Mixup is as ever. In a CutMix batch the
    mixed images go through the network once; A is the class token's attention over the patches in the last block of
    that pass, the mean over heads, without gradient, and M the pasted box at the patch grid by nearest neighbour. The
    partner's attention share is (A . M) / (A . 1) (the paper's own definition), one for each image. The partner's label
    weight is the mean of that share and of the box's share of the area; the image's own label has the rest. The loss
    is lam * L(logits, y) + (1 - lam) * L(logits, y[permutation]) with each image's lam.

    Defaults: alpha 1.0 for CutMix and 0.8 for Mixup as in the official DeiT-S file, and a fair coin: that file's 0.8
    for the coin stands under a misspelt key and never takes effect.

    Differences from the official code: partners come from a uniform permutation, where that code reverses the batch.
    The box is that of this project's CutMix (rounded to the nearest pixel, never truncated).

    Traps: only for backbones that classify by a class token. The label depends on the weights, so the same draws
    give other labels in the next epoch; early in training A is nearly uniform and the label is nearly CutMix's. A
    nearest-neighbour M looks at a patch's first pixel: a box smaller than a patch can have area and no attention share.
    """

    title = "TransMix"
    paper = "Chen et al., TransMix: Attend to Mix for Vision Transformers, CVPR 2022, arXiv 2111.09833"
    family = "transformer"
    venue = "CVPR 2022"
    mixes = "input"
    proved = "a loop over images and patches with timm's unfused attention, Mixup, CutMix"

    def __init__(
        self,
        *,
        cutmix_alpha: Annotated[float, Ge(0)] = 1.0,
        mixup_alpha: Annotated[float, Ge(0)] = 0.8,
        cutmix_share: Annotated[float, Ge(0), Le(1)] = 0.5,
        attention_weight: Annotated[float, Ge(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        self.cutmix_alpha = cutmix_alpha
        self.mixup_alpha = mixup_alpha
        self.cutmix_share = cutmix_share
        self.attention_weight = attention_weight

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Backbones whose class token's attention cannot be read."""
        return backbone.attention_refusal

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch "mixup": lam () float32. branch "cutmix": box (4,) int64. permutation: (B,) int64."""
        permutation = draw_permutation(key, shape.size)
        if key.fold("branch").generator().random() < self.cutmix_share:
            box = draw_box(key, draw_lam(key, self.cutmix_alpha).item(), shape.height, shape.width)
            return Draws(CUTMIX, {"box": box, "permutation": permutation})
        return Draws(MIXUP, {"lam": draw_lam(key, self.mixup_alpha), "permutation": permutation})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass, which in a CutMix batch gives the labels' weights too."""
        (images,) = batch.views
        permutation = draws["permutation"]
        if draws.branch == MIXUP:
            lam = draws["lam"]
            logits = backbone(mix(images, images[permutation], lam))
        else:
            logits, attention = backbone.attention(paste(images, images[permutation], draws["box"]))
            lam = self.own_weight(attention.mean(1), draws["box"], images.shape[-2], images.shape[-1])
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})

    def own_weight(self, attention: Tensor, box: Tensor, height: int, width: int) -> Tensor:
        """Label weight of each image itself, (B,) float32 in [0, 1].

        attention: (B, positions), the mean over heads, at least 0, over a grid of the image's aspect ratio. box: (4,)
        int64, the pasted box in pixels of the image (height, width).
        """
        rows = round((attention.shape[1] * height / width) ** 0.5)
        grid = (rows, attention.shape[1] // rows)
        pasted = box_mask(box, height, width).float()[None, None]
        inside = functional.interpolate(pasted, grid, mode="nearest").flatten()
        seen = (attention * inside).sum(1) / attention.sum(1)
        area = 1 - share_outside(box, height, width)
        return 1 - torch.lerp(area.expand_as(seen), seen, self.attention_weight)
