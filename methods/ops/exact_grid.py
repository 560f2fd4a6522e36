"""The labelling of a small grid at the least energy, exactly, for many grids at once."""

from __future__ import annotations

import torch
from torch import Tensor


def cheapest_labelling(unary: Tensor, between: Tensor) -> Tensor:
    """Labels (N, h, w) int64 of the least energy.

    unary: (N, h, w, L) float, the cost of each label in each cell. between: (N, L, L) float, the cost of two labels in
    neighbouring cells, [upper or left label, lower or right label]; any numbers.

    Dynamic programming over the cells in reading order: a table holds the least cost so far for each labelling of the
    last w cells, since only these touch the cells to come. It costs h * w * L^(w + 1) steps and stores h * w * L^w
    numbers a grid, so it is for narrow grids or few labels. Nothing waits for the device.
    """
    count, height, width, labels = unary.shape
    cells = unary.reshape(count, height * width, labels)
    table, seen = cells[:, 0], []
    for place in range(1, height * width):
        row, column = divmod(place, width)
        step = cells[:, place, None] + between if column else cells[:, place, None]
        if row:
            seen.append(table.reshape(count, labels, -1))
            table = (seen[-1][..., None] + between[:, :, None]).amin(1)
        else:
            table = table[..., None]
        if column:
            table = table.reshape(count, -1, labels, table.shape[2])
            step = step[:, None]
        table = (table + step).reshape(count, -1)
    return _walk_back(table.argmin(1), seen, between, min(width, height * width)).reshape(count, height, width)


def _walk_back(state: Tensor, seen: list[Tensor], between: Tensor, width: int) -> Tensor:
    """Labels (N, h * w) from the best labelling of the last row, `state` (N,) in digits of base L, and the tables."""
    labels = between.shape[1]
    found: list[Tensor] = []
    for table in reversed(seen):
        own, rest = state % labels, state // labels
        found.append(own)
        before = table.gather(2, rest[:, None, None].expand(-1, labels, 1))[..., 0]
        before = before + between.gather(2, own[:, None, None].expand(-1, labels, 1))[..., 0]
        state = before.argmin(1) * labels ** (width - 1) + rest
    for _ in range(width):
        found.append(state % labels)
        state = state // labels
    return torch.stack(found[::-1], 1)
