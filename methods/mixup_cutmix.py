"""The DeiT recipe's switching: each batch gets either Mixup or CutMix."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.boxes import draw_box, paste, share_outside
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from methods.ops.sample_boxes import box_masks, draw_boxes, shares_outside


class MixupCutMix(Method):
    """Mix each batch by CutMix with probability `switch`, else by Mixup.

    Definition: with `probability` the batch is mixed at all. A mixed batch is a CutMix with lam ~ Beta(cutmix_alpha,
    cutmix_alpha) with probability `switch`, and else a Mixup with lam ~ Beta(mixup_alpha, mixup_alpha). Partners come
    from a permutation. The label weight of a CutMix is the share of pixels that stayed. With `lam_per: sample` each
    image makes both choices and draws its lam and box on its own.

    Defaults: mixup_alpha 0.8, cutmix_alpha 1.0, switch 0.5, probability 1.0: table 9 of the DeiT paper. Its recipe has
    label smoothing 0.1 besides; here that is a setting of the protocol.

    Differences from the official code, which is timm's Mixup: timm pairs image i with image B - 1 - i and needs an even
    batch, here partners come from a permutation of any batch; at the same lam, box and pairing the images and losses
    are equal. timm truncates the sides of the box to whole pixels, here each edge is rounded (see CutMix).

    Traps: the share kept differs between the two, 0.5 under Mixup and 0.679 under CutMix at alpha 1, so it is 0.590 on
    average at the defaults.
    """

    title = "Mixup or CutMix"
    paper = (
        "Touvron et al., Training Data-Efficient Image Transformers & Distillation through Attention, ICML 2021, "
        "arXiv 2012.12877, table 9"
    )
    family = "input"
    venue = "ICML 2021"
    mixes = "input"
    proved = "timm Mixup per batch and per element, Mixup and CutMix at the same key"

    def __init__(
        self,
        *,
        mixup_alpha: Annotated[float, Gt(0)] = 0.8,
        cutmix_alpha: Annotated[float, Gt(0)] = 1.0,
        switch: Annotated[float, Ge(0), Le(1)] = 0.5,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
        lam_per: Literal["batch", "sample"] = "batch",
    ) -> None:
        super().__init__()
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.switch = switch
        self.probability = probability
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch "mixup": lam () float32. branch "cutmix": box (4,) int64. branch "each" (lam_per: sample): lam (B,)
        float32, 1 where the image is cut, and boxes (B, 4) int64, empty where it is not. permutation: (B,) int64.
        """
        count = shape.size if self.lam_per == "sample" else 1
        mixed = key.fold("apply").generator().random(count) < self.probability
        cut = key.fold("switch").generator().random(count) < self.switch
        permutation = draw_permutation(key, shape.size)
        if self.lam_per == "sample":
            pasted, blended = torch.from_numpy(mixed & cut), torch.from_numpy(mixed & ~cut)
            lam = torch.where(blended, draw_lam(key, self.mixup_alpha, count), 1.0)
            outside = torch.where(pasted, draw_lam(key, self.cutmix_alpha, count), 1.0)
            boxes = draw_boxes(key, outside, shape.height, shape.width) * pasted[:, None]
            return Draws("each", {"lam": lam, "boxes": boxes, "permutation": permutation})
        if np.all(mixed & cut):
            box = draw_box(key, draw_lam(key, self.cutmix_alpha).item(), shape.height, shape.width)
            return Draws("cutmix", {"box": box, "permutation": permutation})
        lam = draw_lam(key, self.mixup_alpha if np.all(mixed) else 0)
        return Draws("mixup", {"lam": lam, "permutation": permutation})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the mixed images."""
        (images,) = batch.views
        permutation = draws["permutation"]
        partners = images[permutation]
        height, width = images.shape[-2:]
        if draws.branch == "cutmix":
            lam = share_outside(draws["box"], height, width)
            mixed = paste(images, partners, draws["box"])
        elif draws.branch == "mixup":
            lam = draws["lam"]
            mixed = mix(images, partners, lam)
        else:
            lam = draws["lam"] * shares_outside(draws["boxes"], height, width)
            blended = mix(images, partners, draws["lam"])
            mixed = torch.where(box_masks(draws["boxes"], height, width), partners, blended)
        logits = backbone(mixed)
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
