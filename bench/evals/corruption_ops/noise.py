"""Noise: Gaussian, shot, impulse, speckle. Images uint8 (B, C, H, W) in and out; draws come in."""

from __future__ import annotations

from torch import Tensor

from bench.evals.corruption_ops.pixels import to_bytes, to_unit
from bench.evals.corruption_ops.poisson import poisson_levels


def gaussian_noise(images: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """Add sigma * noise. noise: standard normal, of the images' shape."""
    return to_bytes(to_unit(images).add_(noise, alpha=sigma))


def speckle_noise(images: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """Multiply by 1 + sigma * noise. noise: standard normal, of the images' shape."""
    return to_bytes(to_unit(images).mul_(noise * sigma + 1))


def shot_noise(images: Tensor, photons: int, words: Tensor) -> Tensor:
    """Each channel value becomes a Poisson count of `photons` at white. words: uniform in [0, 2**32)."""
    return poisson_levels(images, photons, words)


def impulse_noise(images: Tensor, amount: float, words: Tensor) -> Tensor:
    """A share `amount` of the channel values turns 0 or 255, half each. words: uniform in [0, 2**32)."""
    edge = round(amount * 2**32)
    pepper = words < edge // 2
    salt = (words < edge) & ~pepper
    return images.masked_fill(pepper, 0).masked_fill_(salt, 255)
