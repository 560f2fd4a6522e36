"""FMix: a region with a smooth random outline taken from another image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.fourier_mask import brightest, draw_spectrum, low_frequency_image
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation


class FMix(Method):
    """Train on images cut along a random smooth outline, with the labels' losses weighted by area.

    Definition: lam ~ Beta(alpha, alpha). A grey image is made from complex Gaussian noise whose amplitude falls with
    the frequency f as f ** -decay, with f at least 1 / max(H, W). Its brightest lam * H * W pixels keep the own image,
    all others come from the partner; the count is rounded up or down with equal chance. One mask and one permutation a
    batch. The label weight of an image is the share of its pixels that stayed.

    Defaults: alpha 1.0, decay 3, hard edges: the official code's.

    Differences from the official code: it weights the labels by the drawn lam, which is up to one pixel off the share
    of the mask that is used here. Its soft edges (`max_soft`) and its reformulated loss are left out. Where a spectrum
    of a real image has no imaginary part, none is used, so that every Fourier library gives the same image.
    `lam_per: sample` draws one lam and one mask an image, which that code does not offer.

    Traps: the mask comes from a sort, so a difference of rounding between devices can swap two pixels of nearly the
    same brightness. alpha 0 means lam = 1: images stay bit for bit and labels one-hot. The mean share kept is 0.5. With
    one mask an image the host draws H * W numbers for each of them.
    """

    title = "FMix"
    paper = "Harris et al., FMix: Enhancing Mixed Sample Data Augmentation, preprint 2020, arXiv 2002.12047"
    family = "input"
    venue = "preprint 2020"
    mixes = "input"
    proved = "NumPy's inverse Fourier transform in float64, a sort of single pixels"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        decay: Annotated[float, Ge(0)] = 3.0,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.decay = decay
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """spectrum: (H, W // 2 + 1, 2) float32. kept: () int64 pixels. Both have B in front with one lam an image.
        permutation: (B,) int64."""
        count = shape.size if self.lam_per == "sample" else None
        exact = draw_lam(key, self.alpha, count).double().numpy() * shape.height * shape.width
        up = np.asarray(key.fold("rounding").generator().random(count)) < 0.5
        return Draws(
            tensors={
                "spectrum": draw_spectrum(key, shape.height, shape.width, count),
                "kept": torch.from_numpy(np.where(up, np.ceil(exact), np.floor(exact)).astype(np.int64)),
                "permutation": draw_permutation(key, shape.size),
            }
        )

    def guide(self, backbone: Backbone, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """mask: (H, W) or (B, H, W) bool, true where an image keeps its own pixels."""
        image = low_frequency_image(draws["spectrum"], self.decay, batch.views[0].shape[-1])
        return {"mask": brightest(image, draws["kept"])}

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the cut images."""
        (images,) = batch.views
        permutation, mask = draws["permutation"], draws["mask"]
        logits = backbone(torch.where(mask[..., None, :, :], images, images[permutation]))
        lam = draws["kept"].float() / (mask.shape[-2] * mask.shape[-1])
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
