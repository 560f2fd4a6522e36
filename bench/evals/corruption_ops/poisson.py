"""Poisson counts of the 256 possible pixel values by Walker's alias method: two look-ups a pixel on any device."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy import special
from torch import Tensor


def poisson_levels(images: Tensor, photons: int, words: Tensor) -> Tensor:
    """uint8 images to the uint8 levels of min(Poisson(x * photons) / photons, 1), x = image / 255, truncated.

    words: uniform integers in [0, 2**32), of the images' shape. Their upper bits choose a column of the table, the
    lower ones between the column's two outcomes.
    """
    levels, keep = _tables(photons)
    columns = levels.shape[1]
    shift = 32 - (columns.bit_length() - 1)
    place = images.to(torch.int64) * columns + (words >> shift)
    below = (words & (2**shift - 1)) < torch.from_numpy(keep).to(words.device).flatten()[place]
    pairs = torch.from_numpy(levels).to(words.device).flatten(0, 1)
    return pairs.flatten()[place * 2 + (~below).to(torch.int64)]


@functools.lru_cache(maxsize=32)
def _tables(photons: int) -> tuple[np.ndarray, np.ndarray]:
    """levels (256, columns, 2) uint8 and keep (256, columns) int64: the first outcome has share keep / 2**shift."""
    highest = int(photons + 12 * photons**0.5 + 20)
    columns = 1 << highest.bit_length()
    resolution = 2 ** (32 - (columns.bit_length() - 1))
    counts = np.arange(columns)
    outcome = (np.clip(counts / photons, 0, 1) * 255).astype(np.uint8)
    levels = np.empty((256, columns, 2), dtype=np.uint8)
    keep = np.empty((256, columns), dtype=np.int64)
    for value in range(256):
        rate = value / 255 * photons
        log_mass = special.xlogy(counts, rate) - rate - special.gammaln(counts + 1)
        share, other = alias_table(np.exp(log_mass))
        levels[value, :, 0], levels[value, :, 1] = outcome, outcome[other]
        keep[value] = np.rint(share * resolution)
    return levels, keep


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
