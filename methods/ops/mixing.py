"""Mixing weights, partners, and the convex mix of two batches: what most mixing methods share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from methods.ops.keys import Key


def draw_lam(key: Key, alpha: float, size: int | None = None) -> Tensor:
    """Mixing weights lam ~ Beta(alpha, alpha), float32 () or, with `size`, (size,).

    alpha 0 is the limit "no mixing" and gives exactly 1 (Zhang et al. 2018, arXiv 1710.09412, section 2).
    """
    if alpha == 0:
        return torch.ones(() if size is None else (size,))
    lam = key.fold("lam").generator().beta(alpha, alpha, size)
    return torch.from_numpy(np.asarray(lam, dtype=np.float32))


def draw_permutation(key: Key, size: int) -> Tensor:
    """A uniform permutation (size,) int64: image i's partner is image permutation[i], which may be i itself."""
    return torch.from_numpy(key.fold("permutation").generator().permutation(size))


def mix(first: Tensor, second: Tensor, lam: Tensor) -> Tensor:
    """lam * first + (1 - lam) * second in the dtype of `first`; computed in at least float32.

    first, second: (B, ...). lam: float32 () for all or (B,) one an image, in [0, 1].
    """
    weight = lam.reshape(-1, *[1] * (first.dim() - 1))
    return (weight * first + (1 - weight) * second).to(first.dtype)
