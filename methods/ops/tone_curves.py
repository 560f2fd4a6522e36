"""Photometric operations exactly as in PIL's `ImageOps`: curves as 256-entry tables per image and channel, and cuts."""

from __future__ import annotations

import torch
from torch import Tensor


def autocontrast(images: Tensor) -> Tensor:
    """Stretch the darkest level of each channel to 0 and the brightest to 255; a single level stays.

    images: (N, C, H, W) uint8; the result too.
    """
    levels = torch.arange(256, device=images.device)
    pixels = images.flatten(2)
    low, high = pixels.amin(2, keepdim=True).long(), pixels.amax(2, keepdim=True).long()
    span = (high - low).clamp_(min=1).double()
    scale = torch.full_like(span, 255).div_(span)  # 255 / span would multiply by a rounded reciprocal
    stretched = (levels.double() * scale).add_(-low * scale).clamp_(0, 255)
    return _apply(torch.where(high > low, stretched.to(torch.uint8), levels.to(torch.uint8)), images)


def equalize(images: Tensor) -> Tensor:
    """Spread the levels of each channel evenly; channels too small or too uniform for a step of one pixel stay.

    images: (N, C, H, W) uint8; the result too.
    """
    histogram = _histograms(images)
    upto = histogram.cumsum(2, dtype=torch.int32)
    high = images.flatten(2).amax(2, keepdim=True).long()
    step = torch.div(upto[:, :, -1:] - histogram.gather(2, high), 255, rounding_mode="floor")
    before = (upto - histogram).add_(step // 2)
    spread = before.div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255).to(torch.uint8)
    levels = torch.arange(256, dtype=torch.uint8, device=images.device)
    return _apply(torch.where(step > 0, spread, levels), images)


def cut(images: Tensor, settings: Tensor) -> Tensor:
    """Posterize and solarize: keep the bits of a mask, then invert what is above the highest level not to invert.

    images: (N, C, H, W) uint8. settings: (N, 2) uint8 mask (255 keeps all bits) and level (255 inverts nothing).
    """
    mask, highest = settings[:, :, None, None, None].unbind(1)
    kept = images & mask
    return kept ^ (kept > highest).to(torch.uint8).mul_(255)


def _histograms(images: Tensor) -> Tensor:
    """How many pixels of each level: (N, C, H, W) uint8 to (N, C, 256) int32."""
    levels = images.flatten(2).long()
    ones = torch.ones(1, dtype=torch.int32, device=images.device).expand(levels.shape)
    return torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=images.device).scatter_add_(2, levels, ones)


def _apply(tables: Tensor, images: Tensor) -> Tensor:
    """Replace each level of (N, C, H, W) uint8 by its entry in tables (N, C, 256) uint8."""
    return tables.gather(2, images.flatten(2).long()).view(images.shape)
