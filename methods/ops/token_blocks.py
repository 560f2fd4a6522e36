"""Masks made of random rectangles of tokens, as TokenMix draws them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from methods.ops.keys import Key

NARROWEST = 0.3
"""Smallest ratio of a rectangle's height to its width, and of its width to its height."""
ATTEMPTS = 10


def draw_token_blocks(key: Key, rows: int, columns: int, wanted: int) -> Tensor:
    """A mask (rows, columns) bool with at most `wanted` tokens true, drawn as rectangles until there are as many.

    Each rectangle has a target area uniform between 1 and the number of tokens still wanted and an aspect ratio whose
    logarithm is uniform between log 0.3 and log 1/0.3; its sides are rounded, both are smaller than the grid's, and its
    place is uniform. It is taken when it adds at least one token and not more than are wanted; ten rectangles in a row
    that are not taken end the mask early (Liu et al. 2022, arXiv 2207.08409, released code).
    """
    generator = key.fold("blocks").generator()
    mask = np.zeros((rows, columns), dtype=bool)
    count, misses = 0, 0
    while count < wanted and misses < ATTEMPTS:
        area = generator.uniform(1, max(1, wanted - count))
        aspect = math.exp(generator.uniform(math.log(NARROWEST), -math.log(NARROWEST)))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        misses += 1
        if height >= rows or width >= columns:
            continue
        top, left = generator.integers(rows - height + 1), generator.integers(columns - width + 1)
        block = mask[top : top + height, left : left + width]
        added = int(block.size - block.sum())
        if 0 < added <= wanted - count:
            block[:] = True
            count, misses = count + added, 0
    return torch.from_numpy(mask)
