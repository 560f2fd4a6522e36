"""What PixMix and its kin do with pictures: crops of a set of them, and one round of adding or multiplying."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def larger(size: int) -> int:
    """The side of a picture from which crops of `size` pixels are taken: an eighth more, rounded up."""
    return math.ceil(size * 9 / 8)


def spare(height: int, width: int) -> tuple[int, int]:
    """In how many places, down and across, a crop of this size fits into its picture."""
    return larger(height) - height + 1, larger(width) - width + 1


def crops(pictures: Tensor, picture: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """(B, C, height, width) uint8 crops, one an image.

    pictures (P, C, larger(height), larger(width)) uint8; picture (B,) int64; corner (B, 2) int64, top and left.
    """
    rows = corner[:, 0, None] + torch.arange(height, device=corner.device)
    columns = corner[:, 1, None] + torch.arange(width, device=corner.device)
    channels = torch.arange(pictures.shape[1], device=corner.device)
    chosen = picture[:, None, None, None]
    return pictures[chosen, channels[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def draw_powers(generator: np.random.Generator, beta: float, each: tuple[int, ...]) -> NDArray[np.float32]:
    """a and b of `combined`, (2, *each): with equal chance (u, v) or (1 + v, -w), u ~ Beta(beta, 1), v and w ~ Beta(1,
    beta)."""
    within = generator.random(each) < 0.5
    u, v, w = generator.beta(beta, 1, each), *generator.beta(1, beta, (2, *each))
    powers = np.stack([np.where(within, u, 1 + v), np.where(within, v, -w)])
    return powers.astype(np.float32)


def combined(mixed: Tensor, other: Tensor, powers: Tensor, multiplied: Tensor) -> Tensor:
    """One round before clipping: images (B, C, H, W) in [0, 1], powers (2, B, 1, 1, 1), multiplied (B, 1, 1, 1)."""
    a, b = powers
    added = (a * (2 * mixed - 1) + b * (2 * other - 1) + 1) / 2
    return torch.where(multiplied, (2 * mixed).pow(a) * (2 * other).clamp(min=1e-37).pow(b) / 2, added)
