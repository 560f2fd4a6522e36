"""Entropic optimal transport with uniform marginals, batched, without underflow (Cuturi, NeurIPS 2013)."""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import Tensor

from methods.ops.sinkhorn_log import log_plan_loop
from methods.ops.sinkhorn_native import native_is_available, native_plan
from methods.ops.sinkhorn_scaling import scaled_plan
from methods.ops.sinkhorn_triton import triton_fits, triton_plan, triton_runs_on

Stopping = Literal["official", "fixed", "tolerance"]
STOPPING: tuple[str, ...] = ("official", "fixed", "tolerance")

BackEnd = Literal["auto", "triton", "native", "scaling", "log"]
BACK_ENDS: tuple[str, ...] = ("auto", "triton", "native", "scaling", "log")
BACK_END_VARIABLE = "MIXBENCH_SINKHORN"
"""Environment variable with the back end to take where the caller leaves it at "auto"."""


def sinkhorn(
    cost: Tensor,
    epsilon: float,
    iterations: int,
    stopping: Stopping = "fixed",
    tolerance: float = 0.1,
    back_end: BackEnd = "auto",
) -> Tensor:
    """Transport plans between uniform distributions.

    cost: (B, n, m), finite, any float dtype. epsilon: weight of the entropy, in the cost's units, above 0.
    iterations: at most so many, one being a pass over the rows followed by one over the columns, from zero potentials.
    stopping: when to end, by how far an iteration moves the row potentials u, sum_i |u_i - u_i'|, in the cost's units.
    "fixed": never early. "tolerance": each problem stays as it is once it moves by less than `tolerance`; decided on
    the device and apart from the rest of the batch. "official": all stop once the batch mean is below `tolerance`, as
    in the AlignMix code; the host waits for the device in every iteration, so no CUDA graph can hold it.
    back_end: how "fixed" is computed, see `choose_back_end`; the other two always take the plain loop, "log".

    Returns (B, n, m) float32, non-negative, sum 1; the columns sum to 1/m to rounding, the rows to 1/n as far as the
    iterations got. Computed in float32 whatever autocast says and detached: there is no gradient to the cost.
    Raises ValueError for a cost that is no batch of matrices, for settings out of range and for a back end that is
    asked for by name and cannot run.
    """
    if cost.ndim != 3 or not cost.shape[1] or not cost.shape[2]:
        raise ValueError(f"cost must be (B, n, m) with n and m above 0, not {tuple(cost.shape)}")
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, not {epsilon}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    if stopping not in STOPPING:
        raise ValueError(f"stopping must be one of {', '.join(STOPPING)}, not '{stopping}'")
    if back_end not in BACK_ENDS:
        raise ValueError(f"back_end must be one of {', '.join(BACK_ENDS)}, not '{back_end}'")
    return _sinkhorn(cost.detach(), float(epsilon), iterations, stopping, float(tolerance), back_end)


def choose_back_end(device: torch.device, n: int, m: int, asked: str = "auto") -> str:
    """The back end for problems of n rows and m columns: `asked`, else $MIXBENCH_SINKHORN, else the fastest that runs.

    "triton": one kernel launch, on CUDA, while a problem fits its tile. "native": C for the CPU, where there is a C
    compiler. "scaling": the same arithmetic in plain torch, everywhere. "log": a plain loop of log-softmaxes. All give
    the same plan to float32 rounding. Raises ValueError for an unknown name or a named one that cannot run.
    """
    if asked == "auto":
        asked = os.environ.get(BACK_END_VARIABLE, "auto")
        if asked not in BACK_ENDS:
            raise ValueError(f"{BACK_END_VARIABLE} must be one of {', '.join(BACK_ENDS)}, not '{asked}'")
    if asked == "auto":
        if device.type == "cuda":
            return "triton" if triton_fits(n, m) and triton_runs_on(device) else "scaling"
        return "native" if device.type == "cpu" and native_is_available() else "scaling"
    if asked == "triton" and not triton_runs_on(device):
        raise ValueError(f"the Sinkhorn back end 'triton' needs the package triton and a CUDA device, not {device}")
    if asked == "triton" and not triton_fits(n, m):
        raise ValueError(f"the Sinkhorn back end 'triton' has no room for a cost of {n}x{m}; 'scaling' takes any")
    if asked == "native" and (device.type != "cpu" or not native_is_available()):
        raise ValueError(f"the Sinkhorn back end 'native' needs the CPU and a C compiler; the device is {device}")
    return asked


@torch.library.custom_op(
    "mixbench::sinkhorn",
    mutates_args=(),
    schema="(Tensor cost, float epsilon, int iterations, str stopping, float tolerance, str back_end) -> Tensor",
)
def _sinkhorn(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float, back_end: str) -> Tensor:
    """One node for torch.compile, which would otherwise unroll the loop; contiguous, as the compiler is promised."""
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        return _plan(cost.float(), epsilon, iterations, stopping, tolerance, back_end).contiguous()


def _plan(cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float, back_end: str) -> Tensor:
    if not len(cost):
        return cost.clone()
    if stopping != "fixed":
        return log_plan_loop(cost, epsilon, iterations, stopping, tolerance)
    chosen = choose_back_end(cost.device, cost.shape[1], cost.shape[2], back_end)
    if chosen == "triton":
        return triton_plan(cost, epsilon, iterations)
    if chosen == "native":
        return native_plan(cost, epsilon, iterations)
    if chosen == "scaling":
        return scaled_plan(cost, epsilon, iterations)
    return log_plan_loop(cost, epsilon, iterations, stopping, tolerance)


@_sinkhorn.register_fake
def _shape_of_plan(
    cost: Tensor, epsilon: float, iterations: int, stopping: str, tolerance: float, back_end: str
) -> Tensor:
    return torch.empty(cost.shape, dtype=torch.float32, device=cost.device)
