"""The Triton kernel itself, apart because importing it needs Triton."""

# Triton has no types for its own language.
# pyright: reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)
"""Stands for the logarithm of 0 in the padding: its power of two is 0, and differences of it are no NaN."""


@triton.jit(do_not_specialize=["n", "m", "iterations", "block"])
def sinkhorn_kernel(
    cost_pointer, plan_pointer, n, m, iterations, block, to_bits, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Plan of problem `program_id(0)`; cost and plan contiguous (B, n, m) float32, ROWS >= n and COLUMNS >= m powers of
    two. iterations >= 1, in blocks of `block`. to_bits: log2(e) / epsilon.
    """
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    row_is_real, column_is_real = row < n, column < m
    is_real = row_is_real[:, None] & column_is_real[None, :]
    offsets = tl.program_id(0).to(tl.int64) * n * m + row[:, None] * m + column[None, :]

    cost = tl.load(cost_pointer + offsets, mask=is_real, other=0.0)
    row_minimum = tl.min(tl.where(is_real, cost, float("inf")), 1)
    cost = tl.where(is_real, cost - row_minimum[:, None], 0.0)
    row_sum = tl.where(row_is_real, tl.sum(tl.where(is_real, tl.exp2(-cost * to_bits), 0.0), 1), 1.0)
    column_minimum = tl.min(tl.where(is_real, cost, float("inf")), 0)
    log_plan = -(cost - column_minimum[None, :]) * to_bits - tl.log2(row_sum)[:, None]
    log_plan = tl.where(is_real, log_plan, LOWEST)
    log_plan = tl.where(is_real, log_plan - tl.max(log_plan, 0)[None, :], LOWEST)
    column_sum = tl.where(column_is_real, tl.sum(tl.exp2(log_plan), 0), 1.0)
    log_plan -= tl.log2(column_sum)[None, :]

    for done in range(1, iterations, block):
        kernel = tl.exp2(log_plan)
        row_sum = tl.full((ROWS,), 1.0, tl.float32)
        column_sum = tl.full((COLUMNS,), 1.0, tl.float32)
        for _ in range(tl.minimum(block, iterations - done)):
            row_sum = tl.where(row_is_real, tl.sum(kernel * (1.0 / column_sum)[None, :], 1), 1.0)
            column_sum = tl.where(column_is_real, tl.sum(kernel * (1.0 / row_sum)[:, None], 0), 1.0)
        log_plan -= tl.log2(row_sum)[:, None] + tl.log2(column_sum)[None, :]

    plan = tl.exp2(log_plan)
    plan /= tl.where(column_is_real, tl.sum(plan, 0), 1.0)[None, :] * m
    tl.store(plan_pointer + offsets, plan, mask=is_real)
