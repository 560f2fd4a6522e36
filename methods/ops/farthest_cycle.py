"""Pairing a batch by one greedy cycle through images that are far from each other."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest_cycle(distances: Tensor) -> Tensor:
    """Partners (B,) int64 of one cycle through all images, each followed by the farthest one not yet in it.

    distances: (B, B), not NaN. The cycle starts with the farthest pair (Kang and Kim, GuidedMixup, AAAI 2023,
    greedy pairing). Of equal distances the lower index wins where torch's argmax takes the first. A batch of one is its
    own partner. The chain has B - 1 steps that depend on each other; each is a few operations on B numbers, without
    host sync.
    """
    size = len(distances)
    ends = torch.full((size,), -torch.inf, device=distances.device, dtype=distances.dtype)
    free = distances + torch.diag(ends)
    farthest = free.flatten().argmax(keepdim=True)
    first, last = farthest // size, farthest % size
    partners = torch.zeros(size, dtype=torch.long, device=distances.device).index_copy(0, first, last)
    taken = torch.zeros_like(ends).index_fill(0, first, -torch.inf)
    for _ in range(size - 2):
        following = (free.index_select(0, last)[0] + taken).argmax(keepdim=True)
        partners = partners.index_copy(0, last, following)
        taken = taken.index_fill(0, last, -torch.inf)
        last = following
    return partners.index_copy(0, last, first)
