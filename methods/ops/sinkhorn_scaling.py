"""Sinkhorn as the scaling of a matrix in blocks of iterations, with the potentials kept as logarithms between them.

Inside a block there is neither an exponential nor a maximum: a pass divides by a sum. That is safe for any cost, by a
bound on the sums. After the first iteration, done in the log domain, every column of P sums to 1 and P = Q / c with
rows of Q that sum to 1. Then c_j <= n, so the row sums r_i of P lie in [1/n, m]; after the division by r the column
sums lie in [1/m, n]; and so on for ever. An iteration therefore moves no entry up by a factor above n m, and an entry
that underflows when a block starts, being below 2^-126, is below 2^-126 (n m)^T after T iterations. T is chosen so
that what all such entries could add to a sum is below 2^-24 of it, the rounding of float32; see `block_length`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST_BLOCK = 25
BITS = 126 - 24
"""From the smallest normal float32 to the rounding of 1."""


def block_length(n: int, m: int) -> int:
    """Iterations T between two returns to the log domain: the most with (n m)^(T + 1) <= 2^102, at least 1.

    A missing part of a row sum is at most m * 2^-126 (n m)^T, of a sum that is at least 1/n. Up to 2^51 entries.
    """
    bits = math.log2(n * m)
    return max(1, min(LONGEST_BLOCK, int(BITS / bits) - 1)) if bits else LONGEST_BLOCK


def scaled_plan(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """`iterations` Sinkhorn iterations in plain torch, on any device; the result as in
    `methods.ops.sinkhorn.sinkhorn`. cost (B, n, m) float32. All problems lie side by side in memory.
    """
    n, m = cost.shape[1:]
    log_plan = (cost - cost.amin(2, keepdim=True)).permute(1, 2, 0).contiguous()
    kernel = torch.empty_like(log_plan)
    first_iteration(log_plan, epsilon, kernel)
    length = block_length(n, m)
    for done in range(1, iterations, length):
        row_divisors, column_divisors = scaling_block(torch.exp2(log_plan, out=kernel), min(length, iterations - done))
        log_plan.sub_(row_divisors.log2_()).sub_(column_divisors.log2_())
    plan = torch.exp2(log_plan, out=kernel)
    plan.div_(plan.sum(0, keepdim=True).mul_(m))
    return plan.permute(2, 0, 1)


def first_iteration(cost: Tensor, epsilon: float, scratch: Tensor) -> None:
    """Turn costs into the logarithm to base 2 of the plan after one iteration, its columns summing to 1.

    cost (n, m, B), with minimum 0 in every row, is overwritten; so is scratch, of the same shape. The rows' minima
    and then the columns' leave while they are still costs, where the subtraction costs no digits. The next pass takes
    them up, so the iterates stay those of the textbook loop from zero potentials.
    """
    to_bits = math.log2(math.e) / epsilon
    row_excess = torch.exp2(torch.mul(cost, -to_bits, out=scratch), out=scratch).sum(1, keepdim=True).log2_()
    log_plan = cost.sub_(cost.amin(0, keepdim=True)).mul_(-to_bits).sub_(row_excess)
    log_plan.sub_(log_plan.amax(0, keepdim=True))
    log_plan.sub_(torch.exp2(log_plan, out=scratch).sum(0, keepdim=True).log2_())


def scaling_block(kernel: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Iterations of kernel (n, m, B), four launches each: its row divisors (n, 1, B) and column divisors (1, m, B)."""
    scaled = torch.empty_like(kernel)
    row_divisors = kernel.sum(1, keepdim=True)
    column_divisors = torch.div(kernel, row_divisors, out=scaled).sum(0, keepdim=True)
    for _ in range(iterations - 1):
        torch.sum(torch.div(kernel, column_divisors, out=scaled), 1, keepdim=True, out=row_divisors)
        torch.sum(torch.div(kernel, row_divisors, out=scaled), 0, keepdim=True, out=column_divisors)
    return row_divisors, column_divisors
