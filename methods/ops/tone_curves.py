"""Photometric operations exactly as in PIL's `ImageOps`: curves as 256-entry tables per image and channel, and cuts.

Tables are (N, C, 256) uint8; histograms (N, C, 256) int32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def histograms(images: Tensor) -> Tensor:
    """How many pixels of each level: (N, C, H, W) uint8 to (N, C, 256) int32."""
    levels = images.flatten(2).long()
    ones = torch.ones(1, dtype=torch.int32, device=images.device).expand(levels.shape)
    return torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=images.device).scatter_add_(2, levels, ones)


def apply_tables(images: Tensor, tables: Tensor) -> Tensor:
    """Replace each level by its table entry: (N, C, H, W) uint8 and tables (N, C, 256) uint8 to (N, C, H, W) uint8."""
    return tables.gather(2, images.flatten(2).long()).view(images.shape)


def autocontrast_tables(histogram: Tensor) -> Tensor:
    """Stretch the darkest level of each channel to 0 and the brightest to 255; a single level stays."""
    low, high = _extremes(histogram)
    span = (high - low).clamp(min=1).double()
    scale = torch.full_like(span, 255).div_(span)  # 255 / span would multiply by a rounded reciprocal
    stretched = (_levels(histogram).double() * scale).add_(-low * scale).clamp_(0, 255)
    return torch.where(high > low, stretched.to(torch.uint8), _levels(histogram).to(torch.uint8))


def equalize_tables(histogram: Tensor) -> Tensor:
    """Spread the levels of each channel evenly; channels too small or too uniform for a step of one pixel stay."""
    upto = histogram.cumsum(2, dtype=torch.int32)
    _, high = _extremes(histogram)
    step = torch.div(upto[:, :, -1:] - histogram.gather(2, high.long()), 255, rounding_mode="floor")
    before = (upto - histogram).add_(step // 2)
    spread = before.div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    return torch.where(step > 0, spread.to(torch.uint8), _levels(histogram).to(torch.uint8))


def cut(images: Tensor, settings: Tensor) -> Tensor:
    """Posterize and solarize: keep the bits of a mask, then invert what is above the highest level not to invert.

    images: (N, C, H, W) uint8. settings: (N, 2) uint8 mask (255 keeps all bits) and level (255 inverts nothing).
    """
    mask, highest = settings[:, :, None, None, None].unbind(1)
    kept = images & mask
    return kept ^ (kept > highest).to(torch.uint8).mul_(255)


def _levels(histogram: Tensor) -> Tensor:
    return torch.arange(256, dtype=histogram.dtype, device=histogram.device)


def _extremes(histogram: Tensor) -> tuple[Tensor, Tensor]:
    """The darkest and the brightest level present, each (N, C, 1) int32."""
    levels = _levels(histogram)
    present = histogram > 0
    low = torch.where(present, levels, 255).amin(2, keepdim=True)
    high = torch.where(present, levels, 0).amax(2, keepdim=True)
    return low, high
