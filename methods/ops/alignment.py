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
    return (square - 2 * torch.bmm(a.transpose(1, 2), b)).clamp(min=0).float()


def cosine_cost(first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine between positions, in [0, 2]; a position that is all zero costs 1 with any other.

    Shapes, dtypes and precision as in `squared_l2_cost`.
    """
    a, b = functional.normalize(first.double(), dim=1), functional.normalize(second.double(), dim=1)
    return (1 - torch.bmm(a.transpose(1, 2), b)).clamp(min=0).float()


def carry_to_first(second: Tensor, assignment: Tensor) -> Tensor:
    """A' R^T: each position of the first map gets the features of the second map's positions that match it.

    second (B, C, m); assignment (B, n, m), rows for positions of the first map, of row sum about 1. Returns (B, C, n).
    """
    return torch.bmm(second, assignment.transpose(1, 2))


def carry_to_second(first: Tensor, assignment: Tensor) -> Tensor:
    """A R: each position of the second map gets the features of the first map's positions that match it.

    first (B, C, n); assignment (B, n, m) as in `carry_to_first`, of column sum about 1. Returns (B, C, m).
    """
    return torch.bmm(first, assignment)
