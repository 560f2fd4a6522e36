"""Entropic optimal transport with uniform marginals, batched, in the log domain (Cuturi, NeurIPS 2013)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Stopping = Literal["official", "fixed", "tolerance"]
STOPPING: tuple[str, ...] = ("official", "fixed", "tolerance")


def sinkhorn(
    cost: Tensor, epsilon: float, iterations: int, stopping: Stopping = "fixed", tolerance: float = 0.1
) -> Tensor:
    """Transport plans between uniform distributions.

    cost: (B, n, m), finite, any float dtype. epsilon: weight of the entropy, in the cost's units, above 0.
    iterations: at most so many, one being a pass over the rows followed by one over the columns, from zero potentials.
    stopping: when to end, by how far an iteration moves the row potentials u, sum_i |u_i - u_i'|, in the cost's units.
    "fixed": never early. "tolerance": each problem stays as it is once it moves by less than `tolerance`; decided on
    the device and apart from the rest of the batch. "official": all stop once the batch mean is below `tolerance`, as
    in the AlignMix code; the host waits for the device in every iteration, so no CUDA graph can hold it.

    Returns (B, n, m) float32, non-negative, sum 1; the columns sum to 1/m to rounding, the rows to 1/n as far as the
    iterations got. Computed in float32 whatever autocast says and detached: there is no gradient to the cost.
    Raises ValueError for a cost that is no batch of matrices and for settings out of range.
    """
    if cost.ndim != 3 or not cost.shape[1] or not cost.shape[2]:
        raise ValueError(f"cost must be (B, n, m) with n and m above 0, not {tuple(cost.shape)}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, not {epsilon}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    if stopping not in STOPPING:
        raise ValueError(f"stopping must be one of {', '.join(STOPPING)}, not '{stopping}'")
    return _sinkhorn(cost.detach(), float(epsilon), iterations, stopping, float(tolerance))


@torch.library.custom_op(
    "mixbench::sinkhorn",
    mutates_args=(),
    schema="(Tensor cost, float epsilon, int iterations, str stopping, float tolerance) -> Tensor",
)
def _sinkhorn(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float) -> Tensor:
    """One node for torch.compile, which would otherwise unroll the loop. The place to choose between back ends."""
    with torch.autocast(cost.device.type, enabled=False):
        return _log_domain(cost.float(), epsilon, iterations, stopping, tolerance)


@_sinkhorn.register_fake
def _shape_of_plan(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float) -> Tensor:
    return torch.empty(cost.shape, dtype=torch.float32, device=cost.device)


def _log_domain(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float) -> Tensor:
    """Iterates the logarithm of the plan, (u_i + v_j - C_ij) / epsilon: a pass over the rows is a log-softmax of them.

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
