"""ResizeMix: a whole image, shrunk, pasted into another."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt, Le

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.boxes import box_mask, share_outside
from methods.ops.keys import Key
from methods.ops.mixing import draw_permutation
from methods.ops.resize_paste import shrunk_into, shrunk_into_each
from methods.ops.sample_boxes import box_masks, shares_outside


class ResizeMix(Method):
    """Train on images with a small copy of a partner pasted in, with the labels' losses weighted by area.

    Definition: scale ~ U(scale_low, scale_high), one for the batch. The whole partner is shrunk to scale * H by scale *
    W pixels, rounded, at least one, and pasted at a place uniform over those where all of it fits. The label weight of
    the partner is the share of the area that it covers.

    Defaults: scale from 0.1 to 0.8, the paper's.

    Differences from other code (no official code is known): the patch is never clipped, since the point of the method
    is that the whole object stays visible; OpenMixup and mmpretrain clip the box as CutMix does and squeeze the partner
    into what is left. Shrinking is bilinear between pixel centres, as in mmpretrain; OpenMixup takes the nearest pixel.
    The paper does not say which it uses. `lam_per: sample` draws one scale and one place an image.

    Traps: the scale is that of a side, so areas are its square and the mean share kept is 0.757. Shrinking below one
    half skips pixels, because bilinear interpolation does not smooth first.
    """

    title = "ResizeMix"
    paper = (
        "Qin et al., ResizeMix: Mixing Data with Preserved Object Information and True Labels, preprint 2020, "
        "arXiv 2012.11101"
    )
    family = "input"
    venue = "preprint 2020"
    mixes = "input"
    proved = "torch's interpolate pasted by slices, a loop over pixels, the analytic mean of the share"

    def __init__(
        self,
        *,
        scale_low: Annotated[float, Gt(0), Le(1)] = 0.1,
        scale_high: Annotated[float, Gt(0), Le(1)] = 0.8,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        if scale_low > scale_high:
            raise ValueError(f"scale_low {scale_low} is above scale_high {scale_high}")
        self.scale_low = scale_low
        self.scale_high = scale_high
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """box: (4,) or (B, 4) int64 top, bottom, left, right, ends excluded. permutation: (B,) int64."""
        count = shape.size if self.lam_per == "sample" else 1
        generator = key.fold("paste").generator()
        scale = generator.uniform(self.scale_low, self.scale_high, (count, 1))
        sizes = np.array([shape.height, shape.width])
        patch = np.floor(scale * sizes + 0.5).astype(np.int64).clip(1)
        start = generator.integers(sizes - patch + 1)
        boxes = torch.from_numpy(np.stack([start, start + patch], axis=2).reshape(count, 4))
        box = boxes if self.lam_per == "sample" else boxes[0]
        return Draws(tensors={"box": box, "permutation": draw_permutation(key, shape.size)})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the pasted images."""
        (images,) = batch.views
        permutation, box = draws["permutation"], draws["box"]
        height, width = images.shape[-2:]
        if self.lam_per == "sample":
            patches = shrunk_into_each(images[permutation], box)
            mask, lam = box_masks(box, height, width), shares_outside(box, height, width)
        else:
            patches = shrunk_into(images, box)[permutation]
            mask, lam = box_mask(box, height, width), share_outside(box, height, width)
        logits = backbone(torch.where(mask, patches, images))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
