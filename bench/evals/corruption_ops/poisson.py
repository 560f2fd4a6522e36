"""Poisson counts of the 256 possible pixel values by Walker's alias method: two look-ups a pixel on any device."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy import special
from torch import Tensor

KEEP_BITS = 23
"""Resolution of the choice within a column; with 7 to 10 bits for the column a share is met to 2**-30 or better."""


def poisson_levels(images: Tensor, photons: int, words: Tensor) -> Tensor:
    """uint8 images to the uint8 levels of min(Poisson(x * photons) / photons, 1), x = image / 255, truncated.

    words: uniform integers in [0, 2**32), of the images' shape. Their upper bits choose a column of the table, the
    lower ones between the column's two outcomes.
    """
    table, outcomes = (torch.from_numpy(values).to(words.device) for values in _tables(photons))
    columns = len(outcomes)
    bits = columns.bit_length() - 1
    column = words >> (32 - bits)
    entry = table.flatten().take(images.to(torch.int64).mul_(columns).add_(column))
    below = ((words << bits) & 0xFFFFFFFF) >> (32 - KEEP_BITS) < (entry >> 8)
    return torch.where(below, outcomes.take(column), entry.to(torch.uint8))


@functools.lru_cache(maxsize=32)
def _tables(photons: int) -> tuple[np.ndarray, np.ndarray]:
    """table (256, columns) int32: for each pixel value and column the share kept (upper 23 bits) and the other outcome
    (lower 8 bits). outcomes (columns,) uint8: the level of each column's own count.
    """
    highest = int(photons + 12 * photons**0.5 + 20)
    counts = np.arange(1 << highest.bit_length())
    outcomes = (np.clip(counts / photons, 0, 1) * 255).astype(np.uint8)
    table = np.empty((256, len(counts)), dtype=np.int32)
    for value in range(256):
        rate = value / 255 * photons
        log_mass = special.xlogy(counts, rate) - rate - special.gammaln(counts + 1)
        share, other = alias_table(np.exp(log_mass))
        table[value] = np.rint(share * (2**KEEP_BITS - 1)).astype(np.int32) << 8 | outcomes[other]
    return table, outcomes


def alias_table(mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's table of a distribution over n outcomes, by Vose's construction (1991).

    Choose a column i uniformly; the outcome is i with probability share[i], else other[i].
    """
    scaled = mass / mass.sum() * len(mass)
    share, other = np.ones(len(mass)), np.arange(len(mass))
    left = scaled.tolist()
    small = [i for i, weight in enumerate(left) if weight < 1]
    large = [i for i, weight in enumerate(left) if weight >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        share[low], other[low] = left[low], high
        left[high] -= 1 - left[low]
        if left[high] < 1:
            small.append(large.pop())
    return share, other
