"""Weather: snow, frost, fog. Images uint8 (B, 3, H, W) in and out; draws come in."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.evals.corruption_ops.motion import motion_blur_levels
from bench.evals.corruption_ops.operators import apply_separable, zoom_operator
from bench.evals.corruption_ops.pixels import to_bytes, to_unit
from bench.evals.corruption_ops.plasma import plasma

LUMA = (0.299, 0.587, 0.114)


SnowStrength = tuple[float, float, float, float, int, float, float]


def snow(images: Tensor, strength: SnowStrength, field: Tensor, degrees: Tensor) -> Tensor:
    """Flakes blown along a line, twice (the second turned by 180 degrees), over a whitened image.

    strength: (mean, sd, zoom, threshold, blur radius, blur sigma, share of the image kept). field (B, H, W): standard
    normal. degrees (B,): direction in [-135, -45).
    """
    mean, deviation, factor, threshold, radius, sigma, kept = strength
    flakes = field.double() * deviation + mean
    operator = zoom_operator(field.shape[1], factor, flakes)
    flakes = apply_separable(flakes, operator, operator)
    flakes = flakes.masked_fill_(flakes < threshold, 0).clamp_(0, 1).mul_(255).floor_().float()
    layer = motion_blur_levels(flakes[:, None], radius, sigma, degrees) * (1 / 255)
    pixels = to_unit(images)
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    grey = (pixels * weights).sum(dim=1, keepdim=True)
    whitened = kept * pixels + (1 - kept) * torch.maximum(pixels, grey * 1.5 + 0.5)
    return to_bytes(whitened + (layer + layer.rot90(2, (2, 3))))


def frost(images: Tensor, strength: tuple[float, float], crops: Tensor) -> Tensor:
    """Weighted sum of image and frost picture. strength: (image weight, frost weight); crops uint8 (B, 3, H, W)."""
    own, other = strength
    levels = images.to(torch.float64).mul_(own) + crops.to(torch.float64).mul_(other)
    return levels.clamp_(0, 255).to(torch.uint8)


def fog(images: Tensor, strength: tuple[float, float], field: Tensor) -> Tensor:
    """Add plasma clouds and scale back by the image's maximum. strength: (amount, decay of roughness).

    field (B, S, S): uniform in [-1, 1), S the power of two at or above the image's side.
    """
    amount, decay = strength
    height, width = images.shape[2:]
    clouds = plasma(field, decay)[:, None, :height, :width]
    pixels = to_unit(images)
    highest = pixels.amax(dim=(1, 2, 3), keepdim=True)
    return to_bytes((pixels + amount * clouds) * (highest / (highest + amount)))
