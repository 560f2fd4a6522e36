"""Aligning one feature map with another: the cost of matching positions, and maps carried over by a plan."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def squared_l2_cost(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distance between positions, summed over channels: the cost of AlignMix (CVPR 2022).

    first (B, C, n) and second (B, C, m), any float dtype. Returns (B, n, m) float32, at least 0.
    From |a|^2 + |b|^2 - 2ab in float64, which neither autocast nor a TF32 or bfloat16 setting for float32 products
    touches: no global flag is read or changed, and the cancellation of near features costs no digits.
    """
    a, b = first.double(), second.double()
    square = a.square().sum(1).unsqueeze(2) + b.square().sum(1).unsqueeze(1)
    return torch.baddbmm(square, a.transpose(1, 2), b, alpha=-2).clamp(min=0).float()


def cosine_cost(first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine between positions, in [0, 2]; a position that is all zero costs 1 with any other.

    Shapes, dtypes and precision as in `squared_l2_cost`.
    """
    a, b = functional.normalize(first.double(), dim=1), functional.normalize(second.double(), dim=1)
    return (1 - torch.bmm(a.transpose(1, 2), b)).clamp(min=0).float()


def partners(maps: Tensor, permutation: Tensor) -> Tensor:
    """maps[permutation] in the memory layout of `maps` (B, C, n); permutation (B,) int64.

    `index_select`, because the gradient of indexing sorts the indices on a GPU.
    """
    if _channels_are_last(maps):
        return maps.transpose(1, 2).index_select(0, permutation).transpose(1, 2)
    return maps.index_select(0, permutation)


def carry_to_first(second: Tensor, assignment: Tensor) -> Tensor:
    """A' R^T: each position of the first map gets the features of the second map's positions that match it.

    second (B, C, m); assignment (B, n, m), rows for positions of the first map, of row sum about 1. Returns (B, C, n),
    in the memory layout of `second`: with the channels side by side where they are so there.
    """
    if _channels_are_last(second):
        return torch.bmm(assignment, second.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(second, assignment.transpose(1, 2))


def carry_to_second(first: Tensor, assignment: Tensor) -> Tensor:
    """A R: each position of the second map gets the features of the first map's positions that match it.

    first (B, C, n); assignment (B, n, m) as in `carry_to_first`, of column sum about 1. Returns (B, C, m), in the
    memory layout of `first`.
    """
    if _channels_are_last(first):
        return torch.bmm(assignment.transpose(1, 2), first.transpose(1, 2)).transpose(1, 2)
    return torch.bmm(first, assignment)


def _channels_are_last(maps: Tensor) -> bool:
    return maps.stride(1) == 1 and maps.shape[2] > 1
