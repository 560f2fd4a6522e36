"""Gradient-weighted class activation maps and the box around what they light up."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from methods.api import FeatureMap

_NEIGHBOURS = np.ones((3, 3), dtype=int)
"""Pixels that touch by a side or a corner belong together."""


def activation_maps(backbone: Any, images: Tensor, classes: Tensor) -> tuple[Tensor, bool]:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of the last stage, on the images' own grid: (B, H, W) float32 in [0, 1];
    and whether any logit depends on the stage's positions, without which all maps are zero.

    images: normalised (B, C, H, W); classes: whose logit is explained, (B,). The map is ReLU of the sum over channels
    of (mean gradient of the logit) * feature, enlarged bilinearly, then divided by its largest value; zero everywhere
    where nothing speaks for the class. For a network that ends in average pooling and a linear layer it is the
    positive part of CAM (Zhou et al., CVPR 2016) up to that scale. backbone: a `methods.api.Backbone` in evaluation
    mode, so that each map depends on its own image alone. Raises StageRefused where the last stage cannot be edited.
    """
    kept: list[Tensor] = []

    def keep(features: FeatureMap) -> FeatureMap:
        kept.append(features.spatial.detach().requires_grad_(True))
        return FeatureMap(kept[0].clone(), features.prefix)  # what follows may write into it

    with torch.enable_grad():
        score = backbone(images, edit={-1: keep}).gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)
    coarse = (weights * kept[0].detach().float()).sum(dim=1, keepdim=True).relu()
    maps = F.interpolate(coarse, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0, maps / largest, 0), bool(gradient.any())


def largest_component_box(lit: np.ndarray) -> np.ndarray | None:
    """The tightest box around the largest connected component of a mask (H, W): left, top, right, bottom as shares.

    Pixels are squares, so the full mask gives 0, 0, 1, 1. Of components of one size the first in reading order; None
    for an empty mask.
    """
    if not lit.any():
        return None
    labels = np.zeros(lit.shape, dtype=np.int32)
    ndimage.label(lit, structure=_NEIGHBOURS, output=labels)
    sizes = np.bincount(labels.ravel())[1:]
    rows, columns = np.nonzero(labels == 1 + sizes.argmax())
    height, width = lit.shape
    return np.array(
        [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
    )


def best_overlap(box: np.ndarray, boxes: np.ndarray) -> float:
    """The largest intersection over union of a box (4,) with any of several (M, 4)."""
    corner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = corner.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return float((common / ((box[2:] - box[:2]).prod() + areas - common)).max())
