"""Mixup: convex combinations of whole images."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix


class Mixup(Method):
    """Train on lam * x + (1 - lam) * x[permutation], with the labels' losses weighted alike.

    Definition: lam ~ Beta(alpha, alpha), one for the batch; the partner of image i is image permutation[i] of the
    same batch. The loss is lam * L(logits, y) + (1 - lam) * L(logits, y[permutation]) with the protocol's L. Every
    batch is mixed. Pixels are mixed after normalisation, which is the same as before it because both are affine.

    Defaults: alpha 1.0, the official code's for CIFAR; its ImageNet value is 0.2.

    Differences from the official code: `lam_per: sample` draws one lam an image, which that code does not offer. Draws
    come from the step's key, where the official code leaves NumPy's generator unseeded.

    Traps: alpha 0 means lam = 1 exactly: images stay bit for bit and labels stay plain one-hot. The permutation may
    have fixed points, and a batch of one is therefore plain training. Training accuracy under mixing is not comparable
    with that of plain training.
    """

    title = "Mixup"
    paper = "Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412"
    family = "input"
    venue = "ICLR 2018"
    mixes = "input"
    proved = "a loop over the images, timm Mixup, torchvision v2 MixUp"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        lam_per: Literal["batch", "sample"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """lam: () or (B,) float32. permutation: (B,) int64."""
        lam = draw_lam(key, self.alpha, shape.size if self.lam_per == "sample" else None)
        return Draws(tensors={"lam": lam, "permutation": draw_permutation(key, shape.size)})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the mixed images."""
        (images,) = batch.views
        permutation, lam = draws["permutation"], draws["lam"]
        logits = backbone(mix(images, images[permutation], lam))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
