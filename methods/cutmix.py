"""CutMix: a box of one image pasted into another."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.boxes import NO_BOX, draw_box, paste, share_outside
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation
from methods.ops.sample_boxes import box_masks, draw_boxes, shares_outside


class CutMix(Method):
    """Train on images with a box pasted from a partner, with the labels' losses weighted by area.

    Definition: lam ~ Beta(alpha, alpha); the box has sides sqrt(1 - lam) * H and sqrt(1 - lam) * W and a centre uniform
    over the image, and is clipped at the border. One box and one permutation a batch. The label weight of an image is
    the exact share of its pixels that stayed, counted on the clipped box that is pasted.

    Defaults: alpha 1.0; probability 1.0 as the official code has for ImageNet (it has 0.5 for CIFAR).

    Differences from the official code: that code truncates the side to an integer and halves it by integer division,
    which makes boxes smaller than sqrt(1 - lam) by up to two pixels and never odd; here the centre is a real number and
    each edge is rounded to the nearest pixel boundary, so that the expected area is that of the real box. Height and
    width are told apart, which matters for images that are not square. `lam_per: sample` draws one lam and one box an
    image, and mixes each image with `probability`; the official code has neither.

    Traps: because of the clipping the mean label weight at alpha 1 is 1 - 77/240 = 0.679, not 0.5 (0.69 with the
    official truncation at 32 pixels). alpha 0, and a batch that is not mixed under probability, have an empty box:
    images stay bit for bit, labels one-hot.
    """

    title = "CutMix"
    paper = "Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers, ICCV 2019, arXiv 1905.04899"
    family = "input"
    venue = "ICCV 2019"
    mixes = "input"
    proved = "loops over images and pixels, timm Mixup, torchvision v2 CutMix, the analytic mean of the share"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        probability: Annotated[float, Ge(0), Le(1)] = 1.0,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """box: (4,) or (B, 4) int64 top, bottom, left, right, ends excluded. permutation: (B,) int64."""
        if self.lam_per == "sample":
            mixed = torch.from_numpy(key.fold("apply").generator().random(shape.size) < self.probability)
            lam = draw_lam(key, self.alpha, shape.size)
            box = draw_boxes(key, lam, shape.height, shape.width) * mixed[:, None]
        elif key.fold("apply").generator().random() < self.probability:
            box = draw_box(key, draw_lam(key, self.alpha).item(), shape.height, shape.width)
        else:
            box = torch.tensor(NO_BOX)
        return Draws(tensors={"box": box, "permutation": draw_permutation(key, shape.size)})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the pasted images."""
        (images,) = batch.views
        permutation, box = draws["permutation"], draws["box"]
        height, width = images.shape[-2:]
        if self.lam_per == "sample":
            pasted = torch.where(box_masks(box, height, width), images[permutation], images)
            lam = shares_outside(box, height, width)
        else:
            pasted = paste(images, images[permutation], box)
            lam = share_outside(box, height, width)
        logits = backbone(pasted)
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
