"""Brightness, contrast and saturation. Images uint8 (B, 3, H, W) in and out."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.evals.corruption_ops.pixels import to_bytes, to_unit, to_unit64, truncated

_SECTORS = ((0, 3, 2), (1, 0, 2), (2, 0, 3), (2, 1, 0), (3, 2, 0), (0, 2, 1))
"""Red, green and blue in each sixth of the colour circle, as places in (value, falling, low, rising)."""


def contrast(images: Tensor, factor: float) -> Tensor:
    """Shrink each channel towards its mean over the image."""
    pixels = to_unit(images)
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return to_bytes((pixels - mean).mul_(factor).add_(mean))


def brightness(images: Tensor, shift: float) -> Tensor:
    """Add to V of HSV, at most to 1."""
    hue, saturation, value = to_hsv(to_unit64(images))
    return truncated(to_rgb(hue, saturation, (value + shift).clamp_(max=1)))


def saturate(images: Tensor, strength: tuple[float, float]) -> Tensor:
    """S of HSV becomes S * factor + shift, at most 1. strength: (factor, shift).

    A grey pixel has hue 0, so a shift turns it red.
    """
    factor, shift = strength
    hue, saturation, value = to_hsv(to_unit64(images))
    return truncated(to_rgb(hue, (saturation * factor + shift).clamp_(max=1), value))


def to_hsv(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value (B, H, W), all in [0, 1], of RGB pixels (B, 3, H, W) (Smith 1978).

    Operations and ties are in scikit-image's order, so that float64 gives its last bits: of equal maxima blue goes
    before green before red.
    """
    red, green, blue = pixels.unbind(1)
    value = pixels.amax(dim=1)
    spread = value - pixels.amin(dim=1)
    sixth = torch.where(green == value, (blue - red) / spread + 2, (green - blue) / spread)
    sixth = torch.where(blue == value, (red - green) / spread + 4, sixth)
    grey = spread == 0
    return (sixth / 6).remainder_(1).masked_fill_(grey, 0), (spread / value).masked_fill_(grey, 0), value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The reverse: RGB pixels (B, 3, H, W)."""
    sector = (hue * 6).floor_()
    part = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    palette = torch.stack((value, falling, low, rising), dim=1)
    which = torch.tensor(_SECTORS, device=hue.device)[sector.to(torch.int64) % 6]
    return palette.gather(1, which.permute(0, 3, 1, 2))
