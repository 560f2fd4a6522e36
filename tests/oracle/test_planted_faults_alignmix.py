"""Each fault is planted into AlignMix and must fail the check that is there to catch it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods import alignmix
from methods.alignmix import TO_FIRST, TO_SECOND, AlignMix
from methods.ops.alignment import squared_l2_cost
from tests.oracle import alignmix_checks as checks

original_sinkhorn = alignmix.sinkhorn
original_assignment = AlignMix.assignment
original_mix = AlignMix.mix_features


def differentiable_assignment(self: AlignMix, first: Tensor, second: Tensor) -> Tensor:
    log_plan = -squared_l2_cost(first, second) / self.epsilon
    for _ in range(self.iterations):
        log_plan = torch.log_softmax(torch.log_softmax(log_plan, 2), 1)
    return torch.exp(log_plan)


def columns_first(cost: Tensor, *settings: object) -> Tensor:
    return original_sinkhorn(cost.transpose(1, 2), *settings).transpose(1, 2)


def lam_swapped_to_second(self: AlignMix, features: object, branch: str, permutation: Tensor, lam: Tensor) -> object:
    return original_mix(self, features, branch, permutation, 1 - lam if branch == TO_SECOND else lam)


def transposed(self: AlignMix, first: Tensor, second: Tensor) -> Tensor:
    return original_assignment(self, first, second).transpose(1, 2)


def without_factor(self: AlignMix, first: Tensor, second: Tensor) -> Tensor:
    return original_assignment(self, first, second) / first.shape[2]


MIXED_MAPS = [(checks.check_mixed_maps, (TO_FIRST,)), (checks.check_mixed_maps, (TO_SECOND,))]
COLUMNS = (checks.check_columns_of_assignment, ())

FAULTS: dict[str, tuple[object, str, object, list[tuple[Callable[..., None], tuple[str, ...]]]]] = {
    "plan not detached": (
        AlignMix,
        "assignment",
        differentiable_assignment,
        [(checks.check_no_gradient_through_plan, (branch,)) for branch in checks.DIRECTIONS],
    ),
    "columns before rows": (alignmix, "sinkhorn", columns_first, [*MIXED_MAPS, COLUMNS]),
    "lam swapped in one direction": (
        AlignMix,
        "mix_features",
        lam_swapped_to_second,
        [(checks.check_mixed_maps, (TO_SECOND,)), (checks.check_lam_edges, ()), (checks.check_loss, (TO_SECOND,))],
    ),
    "plan transposed": (AlignMix, "assignment", transposed, [*MIXED_MAPS, COLUMNS]),
    "factor r missing": (
        AlignMix,
        "assignment",
        without_factor,
        [*MIXED_MAPS, COLUMNS, (checks.check_loss, (TO_FIRST,))],
    ),
}
"""Where to plant, what to plant there, and the checks that must each catch it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement, catching = FAULTS[fault]
    monkeypatch.setattr(owner, name, replacement)
    for check, arguments in catching:
        with pytest.raises(AssertionError):
            check(*arguments)
    monkeypatch.undo()
    for check, arguments in catching:
        check(*arguments)
