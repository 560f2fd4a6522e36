"""White noise of any shape made on the device from two small drawn numbers, the same on every device.

Each value is a hash of its position and of the drawn seeds (a counter-based generator), so that nothing large is copied
from the host, no random state exists, and the loss stays a pure function of its draws.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.ops.keys import Key

MASK = 0xFFFFFFFF
FIRST, SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of the 32-bit hash "lowbias32" by C. Wellons (Hash Prospector, 2018)."""


def draw_seeds(key: Key, count: int) -> Tensor:
    """`count` pairs of seeds for `uniform` and `normal`, (count, 2) int64 in [0, 2**32)."""
    return torch.from_numpy(key.generator().integers(MASK + 1, size=(count, 2)))


def uniform(seeds: Tensor, shape: torch.Size) -> Tensor:
    """Independent values, uniform in (0, 1), float32 of `shape`, from one pair of seeds (2,) int64.

    Values are odd multiples of 2**-24: 2**23 different ones, never 0 or 1. Up to 2**32 values a call.
    """
    return _uniform(seeds, shape.numel()).view(shape)


def normal(seeds: Tensor, shape: torch.Size) -> Tensor:
    """Independent standard normal values, float32 of `shape`, by Box and Muller's transform of `uniform`."""
    count = shape.numel()
    first, second = _uniform(seeds, 2 * ((count + 1) // 2)).chunk(2)
    radius, angle = (-2 * first.log()).sqrt(), (2 * math.pi) * second
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].view(shape)


def _uniform(seeds: Tensor, count: int) -> Tensor:
    places = torch.arange(count, device=seeds.device)
    bits = _hash(_hash((places + seeds[0]) & MASK) ^ seeds[1])
    return ((bits >> 9).float() + 0.5) * 2.0**-23


def _hash(values: Tensor) -> Tensor:
    """A permutation of the 32-bit numbers, held in int64, where neighbours have nothing in common."""
    values = _times(values ^ (values >> 16), FIRST)
    values = _times(values ^ (values >> 15), SECOND)
    return values ^ (values >> 16)


def _times(values: Tensor, factor: int) -> Tensor:
    """values * factor modulo 2**32 without leaving the range of int64."""
    high = ((values >> 16) * factor) & 0xFFFF
    return ((high << 16) + (values & 0xFFFF) * factor) & MASK
