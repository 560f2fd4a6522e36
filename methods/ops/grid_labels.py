"""Labelling the cells of a grid at the least energy, for many grids at once and without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

STEP_BALANCE = 2.0
"""Size of the dual step relative to the primal one, in units of the energy's own scale; changes the speed alone."""
THRESHOLDS = 9
"""How many roundings of the relaxed solution are compared."""


def grid_energy(labels: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Energy (...) of labels (..., h, w) int64 in 0 ... L - 1.

    The sum over cells of unary[cell, label], unary (..., h, w, L), and over neighbours of weight * (difference of
    their labels / (L - 1))^2; down (..., h - 1, w) weighs a cell and the one below, right (..., h, w - 1) a cell and
    the one to its right.
    """
    share = labels.to(unary.dtype) / (unary.shape[-1] - 1)
    below = (down * (share[..., 1:, :] - share[..., :-1, :]) ** 2).sum((-2, -1))
    beside = (right * (share[..., :, 1:] - share[..., :, :-1]) ** 2).sum((-2, -1))
    return unary.gather(-1, labels[..., None]).sum((-3, -2, -1)) + below + beside


def label_grid(unary: Tensor, down: Tensor, right: Tensor, iterations: int) -> Tensor:
    """Labels (B, h, w) int64 of nearly the least `grid_energy`, for L = 2 or 3 labels.

    unary: (B, h, w, L) float32, convex in the label. down: (B, h - 1, w), right: (B, h, w - 1), float32, not negative.

    With both terms convex in the labels the relaxation to real labels, linear between whole ones, has a solution in
    whole labels, and rounding any of its solutions by one threshold for all cells gives one. The relaxation is solved
    by the primal-dual iteration of Chambolle and Pock (J. Math. Imaging Vision 2011, algorithm 1, theta 1), a fixed
    number of times; of several thresholds the one with the least energy is kept. Raises ValueError for other L.
    """
    batch, height, width, count = unary.shape
    if count not in (2, 3):
        raise ValueError(f"2 or 3 labels can be solved, not {count}")
    top = count - 1
    slope = unary[..., 1:] - unary[..., :-1]
    first, second = slope[..., 0], slope[..., 1] if count == 3 else torch.full_like(slope[..., 0], torch.inf)
    weight = torch.zeros(batch, 2, height, width, device=unary.device)
    weight[:, 0, :-1], weight[:, 1, :, :-1] = down, right
    gentle, steep = weight / top**2, weight * (2 * top - 1) / top**2
    scale = STEP_BALANCE / top * steep.sum((1, 2, 3)) / (2 * height * width)
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny).view(batch, 1, 1)
    primal, dual = 1 / (8**0.5 * scale), scale[:, None] / 8**0.5
    first, second = primal * first, primal * second

    labels = torch.full((batch, height, width), top / 2, device=unary.device)
    ahead, flow = labels, torch.zeros_like(weight)
    for _ in range(iterations):
        step = flow + dual * torch.stack([ahead.roll(-1, 1) - ahead, ahead.roll(-1, 2) - ahead], 1)
        size = step.abs()
        flow = torch.minimum(torch.maximum(torch.minimum(size, gentle), size - dual), steep) * step.sign()
        change = flow[:, 0].roll(1, 1) - flow[:, 0] + flow[:, 1].roll(1, 2) - flow[:, 1]
        moved = labels - primal * change
        moved = torch.maximum(moved - second, (moved - first).clamp(max=1)).clamp(0, top)
        ahead, labels = 2 * moved - labels, moved
    return _best_rounding(labels, unary, down, right)


def _best_rounding(labels: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    thresholds = torch.arange(1, THRESHOLDS + 1, device=unary.device) / (THRESHOLDS + 1)
    rounded = (labels + 1 - thresholds.view(-1, 1, 1, 1)).floor().clamp(0, unary.shape[-1] - 1).long()
    energy = grid_energy(rounded, unary.expand(THRESHOLDS, *unary.shape), down, right)
    best = energy.argmin(0).view(1, -1, 1, 1).expand(1, *labels.shape)
    return rounded.gather(0, best)[0]
