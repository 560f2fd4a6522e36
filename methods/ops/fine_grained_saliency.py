"""Fine-grained static saliency: how far each pixel's brightness stands out from the box means around it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REACHES = (12, 24, 48, 28, 56, 112)
"""Half sides of the surrounding boxes in pixels, at every image size."""
LUMA = (4899, 9617, 1868)
"""Weights of red, green and blue in brightness, in units of 2^-14 (ITU-R BT.601)."""


def fine_grained_saliency(images: Tensor) -> Tensor:
    """Saliency (B, H, W) int64 in [0, 510] of uint8 images (B, C, H, W).

    The algorithm of Montabone and Soto, Human detection using a mobile platform and novel features derived from a
    visual saliency mechanism (Image and Vision Computing 2010), in the form of OpenCV's StaticSaliencyFineGrained: the
    brightness, smoothed twice by a 3x3 binomial filter, is compared with its mean over six boxes around the pixel
    (clipped at the border, without the pixel itself); positive and negative differences, cut to integers, are added
    over the boxes and each of the two sums is stretched to [0, 255]; saliency is the sum of the two. A constant image
    has saliency 0. Three channels are red, green and blue; of any other number of channels the mean is taken.
    """
    brightness = _smooth(_smooth(_brightness(images)))
    brighter = torch.zeros_like(brightness)
    darker = torch.zeros_like(brightness)
    sums = functional.pad(brightness.cumsum(1).cumsum(2), (1, 0, 1, 0))
    for reach in REACHES:
        difference = brightness.float() - _mean_around(sums, brightness, reach)
        brighter += difference.clamp(min=0).long()
        darker += (-difference).clamp(min=0).long()
    return _stretched(brighter) + _stretched(darker)


def _brightness(images: Tensor) -> Tensor:
    channels = images.long()
    if images.shape[1] != len(LUMA):
        return (2 * channels.sum(1) + images.shape[1]) // (2 * images.shape[1])
    red, green, blue = channels.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + (1 << 13)) >> 14


def _smooth(brightness: Tensor) -> Tensor:
    """The filter 1-2-1 by 1-2-1, rounded; the border is mirrored without repeating the last pixel."""
    for axis in (1, 2):
        size = brightness.shape[axis]
        place = torch.arange(size, device=brightness.device)
        before, after = (place - 1).abs().clamp(max=size - 1), (size - 1 - (size - 2 - place).abs()).clamp(min=0)
        neighbours = brightness.index_select(axis, before) + brightness.index_select(axis, after)
        brightness = neighbours + 2 * brightness
    return (brightness + 8) >> 4


def _mean_around(sums: Tensor, brightness: Tensor, reach: int) -> Tensor:
    """Mean over the box [-reach + 1, reach] around each pixel without the pixel, or the pixel where it is alone."""
    _, height, width = brightness.shape
    rows, columns = (torch.arange(size, device=sums.device) for size in (height, width))
    top, bottom = (rows - reach + 1).clamp(min=0), (rows + reach + 1).clamp(max=height)
    left, right = (columns - reach + 1).clamp(min=0), (columns + reach + 1).clamp(max=width)
    bands = sums.index_select(1, bottom) - sums.index_select(1, top)
    boxes = bands.index_select(2, right) - bands.index_select(2, left)
    others = (bottom - top)[:, None] * (right - left)[None, :] - 1
    return torch.where(others > 0, (boxes - brightness).float() / others.clamp(min=1), brightness)


def _stretched(sums: Tensor) -> Tensor:
    """Sums (B, H, W) to [0, 255] by each image's largest, cut to integers."""
    largest = sums.amax((1, 2), keepdim=True).clamp(min=1)
    return (255 * (sums.float() / largest).double()).long()
