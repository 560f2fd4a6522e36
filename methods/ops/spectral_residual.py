"""Spectral residual saliency: what of an image's spectrum is not expected from its smoothed logarithm."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LARGEST_SIDE = 128
LUMA = (0.2989, 0.587, 0.114)
TINY = 1e-10
"""Added to the squared amplitude, so that an empty frequency has a logarithm."""


def spectral_residual(images: Tensor) -> Tensor:
    """Saliency (B, h, w) float32, not negative, of float images (B, C, H, W); not smoothed, in no unit.

    Hou and Zhang, Saliency Detection: A Spectral Residual Approach, CVPR 2007, equations 2 to 4, in the form of
    GuidedMixup's code: of the brightness (three channels: ITU-R BT.601 weights, else their mean), the logarithm of the
    amplitude minus its mean over 3x3 frequencies (edge frequencies repeated), with the phase, transformed back;
    saliency is the absolute value, where Hou and Zhang square it. (h, w) is (H, W), or 128x128 for images with more
    than 128 rows, which are first resized to that.
    """
    with torch.autocast(images.device.type, enabled=False):
        brightness = _brightness(images.float())
        if images.shape[-2] > LARGEST_SIDE:
            brightness = resized(brightness, (LARGEST_SIDE, LARGEST_SIDE))
        spectrum = torch.fft.fft2(brightness)
        amplitude = (spectrum.real**2 + spectrum.imag**2 + TINY).sqrt()
        log_amplitude = amplitude.log()
        padded = functional.pad(log_amplitude[:, None], (1, 1, 1, 1), mode="replicate")
        residual = (log_amplitude - functional.avg_pool2d(padded, 3, stride=1)[:, 0]).exp()
        return torch.fft.ifft2(spectrum * (residual / amplitude)).abs()


def gaussian_blur(maps: Tensor, sigma: float = 3.0, reach: int = 3) -> Tensor:
    """Maps (B, H, W) filtered by a Gaussian of `sigma` pixels cut off after `reach`, edges mirrored where they can be.

    The mirror leaves out the edge pixel; sides of `reach` pixels or fewer are padded by their edge pixel instead.
    """
    offsets = torch.arange(-reach, reach + 1, device=maps.device, dtype=torch.float32)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    mode = "reflect" if min(maps.shape[-2:]) > reach else "replicate"
    padded = functional.pad(maps[:, None].float(), (reach, reach, reach, reach), mode=mode)
    with torch.autocast(maps.device.type, enabled=False):
        along = functional.conv2d(padded, weights.view(1, 1, 1, -1))
        return functional.conv2d(along, weights.view(1, 1, -1, 1))[:, 0]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, h, w) resized bilinearly to `size` with antialiasing."""
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False, antialias=True)[:, 0]


def _brightness(images: Tensor) -> Tensor:
    if images.shape[1] != len(LUMA):
        return images.mean(1)
    red, green, blue = images.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
