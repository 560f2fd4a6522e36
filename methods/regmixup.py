"""RegMixup: plain training with a Mixup loss added as a regulariser."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix


class RegMixup(Method):
    """Train on the images and, at the same weight, on a Mixup of them with lam near one half.

    Definition: lam ~ Beta(alpha, alpha), one for the batch. The network sees the batch and its Mixup
    lam * x + (1 - lam) * x[permutation] in one pass over 2 B images. The loss is the mean over the 2 B images: half of
    L(logits of x, y) plus half of lam * L(mixed logits, y) + (1 - lam) * L(mixed logits, y[permutation]). This is the
    paper's objective with its weight eta at 1, divided by 2 as in the official code.

    Defaults: alpha 20, the official code's; the paper's values lie between 10 and 20.

    Differences from the official code: `lam_per: sample` draws one lam an image. Draws come from the step's key.

    Traps: a step costs twice as much as plain training, so a fair comparison is at equal compute. BatchNorm sees both
    halves in one batch, and its running statistics are those of the mixture. alpha 0 means lam = 1: every image is then
    seen twice and the loss is that of plain training. The share kept counts all 2 B images: 0.75 on average.
    """

    title = "RegMixup"
    paper = (
        "Pinto et al., RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution "
        "Robustness, NeurIPS 2022, arXiv 2206.14502"
    )
    family = "input"
    venue = "NeurIPS 2022"
    mixes = "input"
    proved = "a loop over the images, cross entropy on soft labels, Mixup"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 20.0,
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
        """The mean loss over the clean and the mixed images, in one pass."""
        (images,) = batch.views
        permutation, lam = draws["permutation"], draws["lam"]
        clean, mixed = backbone(torch.cat([images, mix(images, images[permutation], lam)])).chunk(2)
        plain = self.task.criterion(clean, batch.labels).mean()
        regulariser = mixed_loss(self.task.criterion, mixed, batch.labels, permutation, lam)
        parts = {"share_kept": (1 + lam.mean()) / 2, "clean": plain.detach(), "mixed": regulariser.detach()}
        return Loss((plain + regulariser) / 2, parts)
