"""SaliencyMix: CutMix whose box sits on the most salient pixel of the image that it is cut from."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise, mixed_loss
from methods.ops.fine_grained_saliency import fine_grained_saliency
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation
from methods.ops.peak_boxes import box_masks, boxes_around, peaks

LARGEST = 255.0
"""Unit of the saliency view, so that it stays in the range of normalised images."""


class SaliencyMix(Method):
    """Train on images with a box pasted from a partner, centred on a source image's saliency peak.

    Definition: lam ~ Beta(alpha, alpha); the box has sides sqrt(1 - lam) * H and sqrt(1 - lam) * W, its centre is the
    most salient pixel of the source image, and it is clipped at the border. It is cut from the partner and pasted at
    the same place. The label weight of an image is the exact share of its pixels that stayed. Saliency is the
    fine-grained static saliency of Montabone and Soto (2010) as OpenCV computes it, of the pixels before normalisation.
    `peak_of: batch` takes the peak of one image, permutation[0], for the whole batch, as the official code does;
    `peak_of: partner` takes that of each image's own partner, as in the paper.

    Defaults: alpha 1.0; probability 1.0 as the official code has for ImageNet (0.5 for CIFAR); peak_of batch.

    Differences from the official code: it hands OpenCV the normalised floating point image, whose bytes that function
    then reads as pixels. With OpenCV 4.14 and 5.0 the map of such an image had a correlation of -0.005 with the map of
    its pixels, so the official box is at a place that has little to do with saliency; here the map is that of the
    pixels. Edges are rounded to the nearest pixel boundary, as in this CutMix, where that code truncates the side and
    halves it by integer division. Of pixels with the same saliency the first in reading order is the peak.
    `lam_per: sample` draws one lam an image and mixes each image with `probability`; the official code has neither.

    Traps: with `peak_of: batch` all other images get a box that their own saliency has no part in. The peak of a
    photograph is often a highlight near the border, and a clipped box leaves more of the own image: the mean label
    weight at alpha 1 is between 0.5 (peaks in the middle) and 0.875 (peaks in a corner). A constant image has its peak
    in the first pixel. The method's second view is the saliency map, divided by 255.
    """

    title = "SaliencyMix"
    paper = (
        "Uddin et al., SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better Regularization, ICLR 2021, "
        "arXiv 2006.01791"
    )
    family = "saliency"
    venue = "ICLR 2021"
    mixes = "input"
    proved = "saliency maps of OpenCV bit for bit, loops over images and pixels, the mean share by integration"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
        peak_of: Literal["batch", "partner"] = "batch",
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability
        self.peak_of = peak_of
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """lam: () or (B,) float32 before clipping, 1 where nothing is mixed. permutation: (B,) int64."""
        count = shape.size if self.lam_per == "sample" else None
        mixed = torch.from_numpy(np.asarray(key.fold("apply").generator().random(count) < self.probability))
        lam = torch.where(mixed, draw_lam(key, self.alpha, count), 1.0)
        return Draws(tensors={"lam": lam, "permutation": draw_permutation(key, shape.size)})

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The normalised images, and for each image the saliency in [0, 2] (B, C, H, W) that its box is placed by."""
        source = draws["permutation"] if self.peak_of == "partner" else draws["permutation"][:1]
        saliency = fine_grained_saliency(images.index_select(0, source)).float() / LARGEST
        return normalise(images), saliency[:, None].expand(images.shape)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the pasted images."""
        images, saliency = batch.views
        permutation, lam = draws["permutation"], draws["lam"]
        height, width = images.shape[-2:]
        maps = saliency[:, 0] if self.peak_of == "partner" else saliency[:1, 0]
        pasted = box_masks(boxes_around(peaks(maps), lam.reshape(-1, 1), height, width), height, width)
        logits = backbone(torch.where(pasted[:, None], images[permutation], images))
        kept = 1 - pasted.float().mean((1, 2)).expand(len(images))
        total = mixed_loss(self.task.criterion, logits, batch.labels, permutation, kept)
        return Loss(total, {"share_kept": kept.mean()})
