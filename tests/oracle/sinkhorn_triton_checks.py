"""The Triton kernel against POT; run as a program of its own with TRITON_INTERPRET=1 where there is no GPU."""

from __future__ import annotations

import torch

from methods.ops.sinkhorn import choose_back_end, sinkhorn
from tests.oracle.test_sinkhorn import EPSILON, official_scale_cost, pot_plans, relative_error

SQUARE = (16, 49, 64)
OBLONG = ((7, 11), (5, 1), (1, 4))


def check_kernel(device: torch.device) -> None:
    """L1-relative error at most 1e-5 from the same float32 cost, at official scale, in every shape and batch size."""
    for n in SQUARE:
        cost = official_scale_cost(n, count=2 if n == 16 else 1)
        assert (cost / EPSILON).median() >= 2700
        check(cost, 100, device)
    for shape in OBLONG:
        for iterations in (1, 30):
            check(official_scale_cost(*shape, count=3), iterations, device)
    transposed = official_scale_cost(9, 5, count=2).transpose(1, 2)
    assert not transposed.is_contiguous()
    check(transposed, 20, device)


def check(cost: torch.Tensor, iterations: int, device: torch.device) -> None:
    assert choose_back_end(device, *cost.shape[1:], "triton") == "triton"
    plan = sinkhorn(cost.to(device), EPSILON, iterations, back_end="triton").cpu()
    error = relative_error(plan, pot_plans(cost, EPSILON, iterations))
    assert error <= 1e-5, (tuple(cost.shape), iterations, error)
    assert torch.allclose(plan.sum(1) * cost.shape[2], torch.ones(()), atol=2e-6)


if __name__ == "__main__":
    check_kernel(torch.device("cpu"))
    print("passed")
