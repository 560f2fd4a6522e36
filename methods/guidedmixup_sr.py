"""GuidedMixup with spectral residual saliency: each pixel mixed by the ratio of two saliency maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.farthest_cycle import farthest_cycle
from methods.ops.keys import Key
from methods.ops.mixing import draw_permutation
from methods.ops.spectral_residual import gaussian_blur, resized, spectral_residual

MIXED = "mixed"
CLEAN = "clean"


class GuidedMixupSR(Method):
    """Train on images whose every pixel is mixed by how salient it is in the one and in the other.

    Definition: s is an image's spectral residual saliency, smoothed twice by a 7x7 Gaussian with sigma 3 and divided by
    its sum. With `pairing: greedy` the batch is paired by one cycle, in which every image is followed by the one whose
    map is farthest in L2 distance among those left, starting with the farthest pair; with `random` by a permutation. A
    pixel of an image has the weight s / (s + s of the partner), and the label weight of an image is the mean of its
    pixels' weights (Kang and Kim). A batch is mixed with the given probability.

    Defaults: greedy pairing and probability 0.5, those of the official commands for this form (Guided-SR).

    Differences from the official code: the loss is the protocol's, where that code has the binary cross entropy of the
    softmax outputs. Maps with nothing in them, which are 0 / 0 there, count every pixel alike.

    Traps: the greedy cycle is a chain of B - 1 steps that cannot run at once; it costs time
    by batch size, whatever the image size. The cycle visits the whole batch, so an image's partner depends on all
    others. Saliency is that of the normalised image. No network is asked: no extra pass.
    """

    title = "GuidedMixup (spectral residual)"
    paper = (
        "Kang and Kim, GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps, AAAI 2023, arXiv 2306.16612"
    )
    family = "saliency"
    venue = "AAAI 2023"
    mixes = "input"
    proved = "a loop over images in NumPy's FFT and SciPy's filters, a loop for the pairing, the mean pixel as label"

    def __init__(
        self,
        *,
        pairing: Literal["greedy", "random"] = "greedy",
        probability: Annotated[float, Ge(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        self.pairing = pairing
        self.probability = probability

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch: "mixed" or "clean". permutation: (B,) int64, used by the random pairing only."""
        mixed = key.fold("apply").generator().random() < self.probability
        return Draws(MIXED if mixed else CLEAN, {"permutation": draw_permutation(key, shape.size)})

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """partners: (B,) int64. mask: (B, H, W) float32 in [0, 1], the weight of an image's own pixels."""
        if draws.branch == CLEAN:
            return {}
        with torch.no_grad():
            saliency = smooth_saliency(batch.views[0])
            partners = draws["permutation"]
            if self.pairing == "greedy":
                flat = saliency.flatten(1)
                partners = farthest_cycle(torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist"))
            both = saliency + saliency[partners]
            return {"partners": partners, "mask": torch.where(both > 0, saliency / both, 0.5)}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the mixed images, or the plain loss in the branch "clean"."""
        (images,) = batch.views
        if draws.branch == CLEAN:
            total = self.task.criterion(backbone(images), batch.labels).mean()
            return Loss(total, {"share_kept": torch.ones((), device=images.device)})
        partners, mask = draws["partners"], draws["mask"]
        logits = backbone(mask[:, None] * images + (1 - mask[:, None]) * images[partners])
        lam = mask.mean((1, 2))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, partners, lam), {"share_kept": lam.mean()})


def smooth_saliency(images: Tensor) -> Tensor:
    """Smoothed spectral residual saliency (B, H, W) float32 of normalised images (B, C, H, W); each map sums to 1."""
    size = (images.shape[-2], images.shape[-1])
    saliency = gaussian_blur(spectral_residual(images))
    saliency = gaussian_blur(saliency if saliency.shape[1:] == size else resized(saliency, size))
    total = saliency.sum((1, 2), keepdim=True)
    return torch.where(total > 0, saliency / total, 1 / saliency[0].numel())
