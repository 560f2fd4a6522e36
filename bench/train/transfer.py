"""Many small host tensors to the device in one copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from methods.api import Draws

ALIGNMENT = 64
"""Bytes; compiled code wants inputs at multiples of 16, and no element type needs more."""


def move_draws(draws: Sequence[Draws], device: torch.device) -> list[Draws]:
    """The same draws with their tensors on the device; on the CPU they are those given, elsewhere parts of one copy."""
    if device.type == "cpu":
        return list(draws)
    moved = iter(move_together([tensor for each in draws for tensor in each.tensors.values()], device))
    return [Draws(each.branch, dict(zip(each.tensors, moved, strict=False))) for each in draws]


def move_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Contiguous copies of CPU tensors on the device, of the same shapes and dtypes, through one buffer.

    The buffer is in pinned memory for CUDA, so that the copy waits for nothing; torch's allocator hands that memory out
    again only when the copy is done.
    """
    places = list(_places(tensors))
    total = places[-1][1] if places else 0
    buffer = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, (start, end) in zip(tensors, places, strict=True):
        _part(buffer, start, end, tensor).copy_(tensor)
    there = buffer.to(device, non_blocking=True)
    return [_part(there, start, end, tensor) for tensor, (start, end) in zip(tensors, places, strict=True)]


def _places(tensors: Sequence[Tensor]) -> Iterator[tuple[int, int]]:
    end = 0
    for tensor in tensors:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        end = start + tensor.numel() * tensor.element_size()
        yield start, end


def _part(buffer: Tensor, start: int, end: int, like: Tensor) -> Tensor:
    return buffer[start:end].view(like.dtype).view(like.shape)
