"""Sinkhorn as one Triton kernel: a program a problem, the cost read once, all iterations inside, the plan written once.

The arithmetic is that of `methods.ops.sinkhorn_scaling`, where the bound that makes it safe stands.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
from typing import Any

import torch
from torch import Tensor

from methods.ops.sinkhorn_scaling import block_length

MOST_ENTRIES = 128 * 128
"""Of a problem padded to powers of two: two float32 tiles of it are kept in registers."""
ENTRIES_A_WARP = 1024
MOST_WARPS = 16


def triton_plan(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """`iterations` Sinkhorn iterations of cost (B, n, m) float32; the result as in `methods.ops.sinkhorn.sinkhorn`.

    On CUDA; on the CPU in Triton's interpreter, which TRITON_INTERPRET=1 switches on before the first import.
    ValueError for a problem that `triton_fits` refuses.
    """
    from methods.ops.sinkhorn_triton_kernel import sinkhorn_kernel

    count, n, m = cost.shape
    if not triton_fits(n, m):
        raise ValueError(f"a cost of {n}x{m} does not fit the Triton kernel, whose limit is {MOST_ENTRIES} entries")
    cost, plan = cost.contiguous(), torch.empty_like(cost, memory_format=torch.contiguous_format)
    rows, columns = _power_of_two(n), _power_of_two(m)
    warps = min(MOST_WARPS, max(1, rows * columns // ENTRIES_A_WARP))
    with torch.cuda.device(cost.device) if cost.is_cuda else contextlib.nullcontext():
        launch: Any = sinkhorn_kernel[(count,)]
        launch(
            cost, plan, n, m, iterations, block_length(n, m), math.log2(math.e) / epsilon,
            ROWS=rows, COLUMNS=columns, num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
    return plan


def triton_fits(n: int, m: int) -> bool:
    """Whether a problem of n rows and m columns fits the kernel's tile."""
    return _power_of_two(n) * _power_of_two(m) <= MOST_ENTRIES


def triton_runs_on(device: torch.device) -> bool:
    """Whether Triton is there and the device is one for it: CUDA, or the CPU while the interpreter is on."""
    if importlib.util.find_spec("triton") is None:
        return False
    return device.type == "cuda" or (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


def _power_of_two(size: int) -> int:
    return 1 << max(0, size - 1).bit_length()
