"""The distributions of AugMix's draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from methods.api import BatchShape
from methods.augmix import AugMix
from methods.ops.augmix_plan import OPERATIONS, counts_of, draw_plan
from methods.ops.keys import Key
from tests.oracle.pil_operations import NAMES

SHAPE = BatchShape(500, 3, 32, 32)


def test_operations_are_the_nine_without_those_of_the_corruptions() -> None:
    overlapping = {"color", "contrast", "brightness", "sharpness", "blur", "noise", "saturate"}
    assert OPERATIONS == NAMES
    assert not [name for name in OPERATIONS if name in overlapping]


@pytest.mark.parametrize("severity", [1, 3, 10])
def test_plan_is_uniform(severity: int) -> None:
    plan = draw_plan(Key("plan").generator(), chains=3000, steps=3, random_depth=True, severity=severity)
    for step in range(3):
        assert stats.chisquare(np.bincount(plan.operation[step], minlength=9)).pvalue > 1e-3
        assert stats.kstest(plan.level[step], stats.uniform(0.1, severity - 0.1).cdf).pvalue > 1e-3
        assert stats.binomtest(int((plan.sign[step] == 1).sum()), 3000).pvalue > 1e-3
    assert set(np.unique(plan.sign)) == {-1, 1}
    assert stats.chisquare(np.bincount(plan.depth)[1:]).pvalue > 1e-3
    assert set(np.unique(plan.depth)) == {1, 2, 3}
    table = np.zeros((9, 9))
    np.add.at(table, (plan.operation[0], plan.operation[1]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_weights_are_dirichlet_and_strengths_beta_per_image(alpha: float) -> None:
    draws = AugMix(alpha=alpha).draw(Key("weights"), SHAPE)
    weights, strength = draws["weights"], draws["m"]
    assert weights.shape == (2, 3, 500)
    assert strength.shape == (2, 500)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 500))
    marginal = stats.beta(alpha, 2 * alpha).cdf
    for sample, cdf in [(strength, stats.beta(alpha, alpha).cdf), *((weights[:, k], marginal) for k in range(3))]:
        assert stats.kstest(sample.flatten().numpy(), cdf).pvalue > 1e-3
        assert len(sample.unique()) > 990


def test_fixed_depth_takes_all_its_steps() -> None:
    plan = AugMix(depth=2).plan(Key(0), SHAPE)
    assert plan.operation.shape == (2, 3000)
    assert (plan.depth == 2).all()


def test_draws_depend_on_the_key_alone() -> None:
    first, again, other = (AugMix().draw(Key(number), SHAPE) for number in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first.tensors)
    assert not torch.equal(first["m"], other["m"])


def test_large_batches_can_be_drawn() -> None:
    draws = AugMix().draw(Key("large"), BatchShape(2048, 3, 32, 32))
    counts = [counts_of(draws.tensors, step) for step in range(3)]
    assert sum(counts[0]) == 2 * 3 * 2048
    assert sum(map(sum, counts)) == len(draws["sources"])
