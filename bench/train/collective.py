"""What the processes of a run tell each other beside gradients. Without other processes nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.train.ranks import Ranks


def from_all(ranks: Ranks, value: Any) -> list[Any]:
    """The values of all processes, in their order; tensors should be on the CPU. All must call it."""
    if ranks.processes == 1:
        return [value]
    values: list[Any] = [None] * ranks.processes
    dist.all_gather_object(values, value, group=ranks.control)
    return values


def dealt_back(ranks: Ranks, values: Sequence[Any]) -> list[Any]:
    """All values in order, where process p holds number p, p + processes, ... of them. All must call it."""
    piles = from_all(ranks, list(values))
    return [piles[number % len(piles)][number // len(piles)] for number in range(sum(map(len, piles)))]


def decided(ranks: Ranks, *flags: bool) -> list[bool]:
    """The flags of the first process, in every process. All must call it."""
    if ranks.processes == 1:
        return list(flags)
    told = torch.tensor(flags, dtype=torch.uint8)
    dist.broadcast(told, 0, group=ranks.control)
    return [bool(flag) for flag in told.tolist()]


def wait_for_all(ranks: Ranks) -> None:
    """Go on when all processes are here."""
    if ranks.processes > 1:
        dist.barrier(group=ranks.control)


def add_up(ranks: Ranks, tensors: list[Tensor]) -> list[Tensor]:
    """The sums over all processes of float32 tensors on the training device. All must call it with the same shapes."""
    if ranks.processes == 1 or not tensors:
        return tensors
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, tensors, strict=True)]
