"""Labelling a small grid at nearly the least energy where there are too many labels to compare them all exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.ops.exact_grid import cheapest_labelling

NEAR = 0.7
"""A label is promising in a cell where it costs less than this many of the largest step more than the best one."""


def nearly_cheapest_labelling(unary: Tensor, between: Tensor, candidates: int) -> Tensor:
    """Labels (N, h, w) int64 of nearly the least energy; of the least one where there are no more than `candidates`.

    unary: (N, h, w, L) float, the cost of each label in each cell. between: (N, L, L) float, symmetric and at least 0,
    the cost of two labels in neighbouring cells.

    The `candidates` most promising labels are compared exactly: those with the largest sum over cells of what they
    stay below the best label plus NEAR steps, counting what each cell and its neighbours must pay at least. Then each
    cell in turn, half of them at once, takes the best of all labels beside its neighbours.
    """
    if unary.shape[3] <= candidates:
        return cheapest_labelling(unary, between)
    kept = _most_promising(unary, between, candidates)
    square = between.gather(1, kept[..., None].expand(-1, -1, unary.shape[3]))
    square = square.gather(2, kept[:, None].expand(-1, candidates, -1))
    among = cheapest_labelling(unary.gather(3, kept[:, None, None].expand(*unary.shape[:3], -1)), square)
    return _settled(kept.gather(1, among.flatten(1)).reshape(among.shape), unary, between)


def _most_promising(unary: Tensor, between: Tensor, count: int) -> Tensor:
    """Labels (N, count) int64."""
    told = (unary[..., None] + between[:, None, None]).amin(3)
    paid = unary + _around(told)
    limit = paid.amin(3, keepdim=True) + NEAR * between.amax((1, 2)).view(-1, 1, 1, 1)
    return (limit - paid).clamp(min=0).sum((1, 2)).argsort(dim=1, descending=True, stable=True)[:, :count]


def _settled(labels: Tensor, unary: Tensor, between: Tensor) -> Tensor:
    _, height, width, count = unary.shape
    row, column = torch.arange(height, device=unary.device)[:, None], torch.arange(width, device=unary.device)
    for turn in (0, 1):
        steps = between.gather(1, labels.flatten(1)[..., None].expand(-1, -1, count)).reshape(unary.shape)
        best = (unary + _around(steps)).argmin(3)
        labels = torch.where((row + column) % 2 == turn, best, labels)
    return labels


def _around(values: Tensor) -> Tensor:
    """The sum of the neighbours' values, of (N, h, w, L)."""
    total = torch.zeros_like(values)
    total[:, 1:] += values[:, :-1]
    total[:, :-1] += values[:, 1:]
    total[:, :, 1:] += values[:, :, :-1]
    total[:, :, :-1] += values[:, :, 1:]
    return total
