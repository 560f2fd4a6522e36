"""A batch cut into parts of images in a row, the last one filled up so that all are worked on at once."""

from __future__ import annotations

import torch
from torch import Tensor


def cut_parts(values: Tensor, width: int) -> Tensor:
    """Parts (P, width, ...) of values (B, ...), with zeros after the last value."""
    missing = -len(values) % width
    filled = torch.cat([values, values.new_zeros(missing, *values.shape[1:])])
    return filled.reshape(-1, width, *values.shape[1:])


def join_parts(parts: Tensor, size: int) -> Tensor:
    """The first `size` values (size, ...) of parts (P, width, ...)."""
    return parts.flatten(0, 1)[:size]


def first_of_part(size: int, width: int, device: torch.device) -> Tensor:
    """For each image of a batch the first one of its part, (size,) int64."""
    image = torch.arange(size, device=device)
    return image - image % width
