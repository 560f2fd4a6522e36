"""The plain torch back end of Sinkhorn: one pass over the rows and one over the columns of the logarithm of the plan.

It is the only one that can stop early, and the one that the others are measured against.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_plan_loop(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float) -> Tensor:
    """Iterates the logarithm of the plan, (u_i + v_j - C_ij) / epsilon: a pass over the rows is a log-softmax of them.

    cost (B, n, m) float32; the rest and the result as in `methods.ops.sinkhorn.sinkhorn`.
    Up to constants that the next pass cancels these are the iterates of the textbook loop over u and v. The large
    entries of the plan are near 0 here and so almost free of rounding, where u + v - C is a small difference of large
    numbers; for the same reason the rows' minima leave before the division by epsilon rounds, and u_1 takes them up.
    """
    row_minimum = cost.amin(2, keepdim=True)
    log_plan = (row_minimum - cost) / epsilon
    if stopping == "fixed":
        for _ in range(iterations):
            log_plan = _iterate(log_plan)
    else:
        log_plan = _iterate_until(log_plan, row_minimum, epsilon, iterations, stopping, tolerance)
    return torch.exp(log_plan) / cost.shape[2]


def _iterate(log_plan: Tensor) -> Tensor:
    """Rows, then columns; columns of the result sum to 1 (not 1/m)."""
    return torch.log_softmax(torch.log_softmax(log_plan, 2), 1)


def _iterate_until(
    log_plan: Tensor, row_minimum: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float
) -> Tensor:
    """`_iterate` with the stop. The change of u is epsilon times what the row pass takes off, log(n * row sum)."""
    n, m = log_plan.shape[1:]
    row_excess = torch.logsumexp(log_plan, 2, keepdim=True) + math.log(n) - row_minimum / epsilon
    active = torch.ones_like(log_plan[:, :1, :1], dtype=torch.bool)
    for _ in range(iterations):
        change = epsilon * row_excess.abs().sum(1, keepdim=True)
        updated = _iterate(log_plan)
        log_plan = torch.where(active, updated, log_plan)
        if stopping == "tolerance":
            active = active & (change >= tolerance)
        elif change.mean().item() < tolerance:
            break
        row_excess = torch.logsumexp(log_plan, 2, keepdim=True) + math.log(n / m)
    return log_plan
