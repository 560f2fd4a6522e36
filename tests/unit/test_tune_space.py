"""What trials try: the default first, then proposals that can be computed without Optuna's study."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from bench.config.search import Searched
from bench.errors import BadInput
from bench.tune.space import proposals

ALPHA = Searched("alpha", (), 0.1, 4.0, True)
SHARE = Searched("share", (), 0.25, 1.0)
STAGE = Searched("stage", (), 1, 3)
COST = Searched("cost", ("l2", "cosine"))
DEFAULTS = {"alpha": 1.0, "share": 1.0, "stage": 2, "cost": "l2", "other": 5}


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_default_first_then_values_inside_the_space(sampler):
    tried = proposals((ALPHA, SHARE, STAGE, COST), DEFAULTS, 33, sampler, 1)
    assert len(tried) == 33
    assert tried[0] == {"alpha": 1.0, "share": 1.0, "stage": 2, "cost": "l2"}
    for values in tried[1:]:
        assert 0.1 <= values["alpha"] <= 4.0
        assert 0.25 <= values["share"] <= 1.0
        assert values["stage"] in (1, 2, 3)
        assert type(values["stage"]) is int
        assert values["cost"] in ("l2", "cosine")
    assert {values["stage"] for values in tried} == {1, 2, 3}
    assert {values["cost"] for values in tried} == {"l2", "cosine"}
    assert all(float(f"{values['alpha']:.4g}") == values["alpha"] for values in tried)


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_same_seed_same_trials_and_fewer_are_the_beginning_of_more(sampler):
    space = (ALPHA, SHARE, COST)
    many = proposals(space, DEFAULTS, 9, sampler, 5)
    assert proposals(space, DEFAULTS, 9, sampler, 5) == many
    assert proposals(space, DEFAULTS, 4, sampler, 5) == many[:4]
    assert proposals(space, DEFAULTS, 1, sampler, 5) == many[:1]
    assert proposals(space, DEFAULTS, 9, sampler, 6)[1:] != many[1:]


def test_qmc_is_scipys_scrambled_sobol_sequence():
    tried = proposals((ALPHA, SHARE), DEFAULTS, 9, "qmc", 7)[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's own remarks on the name of its seed and on balance
        unit = qmc.Sobol(2, scramble=True, seed=7).random(8)
    np.testing.assert_allclose([v["alpha"] for v in tried], 0.1 * 40 ** unit[:, 0], rtol=1e-3)
    np.testing.assert_allclose([v["share"] for v in tried], 0.25 + 0.75 * unit[:, 1], rtol=1e-3)


def test_random_draws_are_uniform_on_their_scale():
    tried = proposals((ALPHA, SHARE), DEFAULTS, 401, "random", 3)[1:]
    alphas, shares = [v["alpha"] for v in tried], [v["share"] for v in tried]
    assert stats.kstest(alphas, stats.loguniform(0.1, 4.0).cdf).pvalue > 1e-3
    assert stats.kstest(shares, stats.uniform(0.25, 0.75).cdf).pvalue > 1e-3
    assert stats.kstest(alphas, stats.uniform(0.1, 3.9).cdf).pvalue < 1e-9
    assert abs(stats.spearmanr(alphas, shares).statistic) < 0.15


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match="extra 'tune'"):
        proposals((ALPHA,), DEFAULTS, 2, "random", 0)
