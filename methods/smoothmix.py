"""SmoothMix: two images blended through a Gaussian mask."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_permutation


class SmoothMix(Method):
    """Train on images that fade into a partner around a random point, with the labels' losses weighted by the mask.

    Definition: a mask G with G_ij = exp(-d_ij^2 / (2 sigma^2)), d_ij the distance from the centre of pixel (i, j) to a
    point uniform over the image, and sigma ~ U(sigma_low, sigma_high) times the shorter side. The mixed image is
    (1 - G) * x + G * x[permutation]; the label weight of the partner, to whom the mask belongs, is the mean of G.

    Defaults: sigma from 0.25 to 0.5 of the side and one mask a batch, as in OpenMixup; no official code is known.

    Differences from OpenMixup: there the mean of the mask is given to the own label, although the mask belongs to the
    partner. The point is a real number instead of a corner of the pixel grid. Masks are round on images that are not
    square. `lam_per: sample` draws one mask an image.

    Traps: the share kept is not 0.5 but 0.571 on average on square images. The name stands for another, unrelated
    method too, which trains smoothed classifiers for certified robustness.
    """

    title = "SmoothMix"
    paper = (
        "Lee et al., SmoothMix: A Simple Yet Effective Data Augmentation to Train Robust Classifiers, CVPR Workshops "
        "2020, pages 3264-3274"
    )
    family = "input"
    venue = "CVPR Workshops 2020"
    mixes = "input"
    proved = "a loop over images and pixels, the analytic mean of the share"

    def __init__(
        self,
        *,
        sigma_low: Annotated[float, Gt(0)] = 0.25,
        sigma_high: Annotated[float, Gt(0)] = 0.5,
        lam_per: Literal["batch", "sample"] = "batch",
    ) -> None:
        super().__init__()
        if sigma_low > sigma_high:
            raise ValueError(f"sigma_low {sigma_low} is above sigma_high {sigma_high}")
        self.sigma_low = sigma_low
        self.sigma_high = sigma_high
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """point: (n, 2) float32 row and column, sigma: (n,) float32, both in pixels, n = 1 or B. permutation: (B,)."""
        count = shape.size if self.lam_per == "sample" else 1
        generator = key.fold("mask").generator()
        point = generator.random((count, 2)) * (shape.height, shape.width)
        sigma = generator.uniform(self.sigma_low, self.sigma_high, count) * min(shape.height, shape.width)
        return Draws(
            tensors={
                "point": torch.from_numpy(point.astype(np.float32)),
                "sigma": torch.from_numpy(sigma.astype(np.float32)),
                "permutation": draw_permutation(key, shape.size),
            }
        )

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the blended images."""
        (images,) = batch.views
        permutation = draws["permutation"]
        mask = gaussian_masks(draws["point"], draws["sigma"], images.shape[-2], images.shape[-1])
        logits = backbone((1 - mask) * images + mask * images[permutation])
        lam = 1 - mask.mean((1, 2, 3))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})


def gaussian_masks(point: Tensor, sigma: Tensor, height: int, width: int) -> Tensor:
    """(n, 1, height, width) float32 in (0, 1]: a Gaussian with peak 1 at each point (n, 2), of width sigma (n,)."""
    rows = torch.arange(height, device=point.device)[:, None] + 0.5
    columns = torch.arange(width, device=point.device) + 0.5
    down, along = point[:, :, None, None, None].unbind(1)
    squares = (rows - down).square() + (columns - along).square()
    return torch.exp(-squares / (2 * sigma.square()[:, None, None, None]))
