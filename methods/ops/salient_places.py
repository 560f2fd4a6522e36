"""How far apart the most salient places of images are, and which outputs Co-Mixup keeps apart by that."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 8
"""Side in pixels of the window whose mean saliency counts."""


def salient_places(saliency: Tensor) -> Tensor:
    """Row and column (B, 2) int64 of the window of most saliency in each image.

    saliency: (B, H, W). Windows are WINDOW x WINDOW pixels (or as large as the image allows) at every place; of several
    that are most salient the first in reading order counts.
    """
    window = (min(WINDOW, saliency.shape[1]), min(WINDOW, saliency.shape[2]))
    means = functional.avg_pool2d(saliency[:, None], window, stride=1)[:, 0]
    place = means.flatten(1).argmax(1)
    return torch.stack([place // means.shape[2], place % means.shape[2]], 1)


def closeness(places: Tensor, real: Tensor, omega: float) -> Tensor:
    """Co-Mixup's matrix A = (1 - omega) I + omega * m * D / sum(D) of each part, (P, M, M) float32.

    places: (P, M, 2) int64. real: (P, M) bool; where it is False there is no image, and rows and columns are zero. m is
    the number of images in the part and D their distances |rows| + |columns|; where these are all 0, A is I.
    """
    distance = (places[:, :, None] - places[:, None]).abs().sum(3) * (real[:, :, None] & real[:, None])
    total = distance.sum((1, 2), keepdim=True)
    scaled = distance * real.sum(1)[:, None, None] / total.clamp(min=1)
    same = torch.diag_embed(real.float())
    return torch.where(total > 0, (1 - omega) * same + omega * scaled, same)
