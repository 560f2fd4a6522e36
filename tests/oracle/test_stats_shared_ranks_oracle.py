"""Ranks that methods share where they cannot be told apart, against scipy's tests and statsmodels' Holm."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

from bench.stats import shared_ranks


def cell(seed: int, methods: int, seeds: int, step: float = 0.3, noisy: float = 1.0) -> dict[str, dict[int, float]]:
    generator = np.random.default_rng(seed)
    drawn = generator.normal(0, 0.3, (methods, seeds)) * np.array([noisy] + [1.0] * (methods - 1))[:, None]
    drawn += generator.normal(0, 0.2, seeds) + step * np.arange(methods)[:, None]
    return {f"m{at}": dict(enumerate(row)) for at, row in enumerate(drawn.tolist())}


def expected(methods: dict[str, dict[int, float]], p_value) -> dict[str, int]:
    """Rank by definition: one more than the methods with a significantly higher mean."""
    pairs = list(itertools.combinations(methods, 2))
    rejected = multipletests([p_value(methods[a], methods[b]) for a, b in pairs], 0.05, "holm")[0]
    better = dict.fromkeys(methods, 0)
    for (a, b), told in zip(pairs, rejected, strict=True):
        if told:
            common = methods[a].keys() & methods[b].keys()
            ahead = sum(methods[a][seed] for seed in common) > sum(methods[b][seed] for seed in common)
            better[b if ahead else a] += 1
    return {name: 1 + count for name, count in better.items()}


def pooled_test(methods: dict[str, dict[int, float]]):
    rows = [(name, seed, value) for name, values in methods.items() for seed, value in values.items()]
    fitted = ols("value ~ C(method) + C(seed)", pd.DataFrame(rows, columns=["method", "seed", "value"])).fit()

    def p_value(one: dict[int, float], other: dict[int, float]) -> float:
        common = sorted(one.keys() & other.keys())
        difference = np.mean([one[seed] - other[seed] for seed in common])
        return 2 * scipy_stats.t.sf(abs(difference) / np.sqrt(2 * fitted.mse_resid / len(common)), fitted.df_resid)

    return p_value


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (4, 2), (5, 3), (7, 5), (12, 10)])
def test_equal_spreads_share_one_variance(methods, seeds):
    found = cell(methods, methods, seeds)
    ranks = shared_ranks(found)
    assert ranks == expected(found, pooled_test(found))
    assert list(ranks) == list(found)
    assert methods < 5 or 1 < len(set(ranks.values())) < methods


def test_missing_runs_count_over_common_seeds():
    found = cell(4, 6, 5, step=0.5)
    del found["m1"][0], found["m1"][3], found["m4"][1]
    ranks = shared_ranks(found)
    assert ranks == expected(found, pooled_test(found))
    assert len(set(ranks.values())) > 2


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_unequal_spreads_test_each_pair_by_its_own_differences(seeds):
    found = cell(seeds, 5, seeds, step=1.0, noisy=30.0)
    ranks = shared_ranks(found)
    assert ranks == expected(found, lambda a, b: scipy_stats.ttest_rel(list(a.values()), list(b.values())).pvalue)
    assert ranks != expected(found, pooled_test(found)), "the planted spread must matter"


def test_who_is_not_ranked_still_tells_the_spread_and_stands_in_no_pair():
    found = cell(6, 6, 3)
    part = {name: found[name] for name in ("m0", "m2", "m5")}
    ranks = shared_ranks(found, set(part))
    assert ranks == expected(part, pooled_test(found)) == {"m5": 1, "m2": 2, "m0": 3}
    assert ranks != expected(part, pooled_test(part)), "the others' spread must matter"


def test_nothing_is_told_apart_without_a_spread():
    assert shared_ranks({"a": {0: 0.9}, "b": {0: 0.1}}) == {}
    assert shared_ranks({"a": {0: 0.9, 1: 0.9}, "b": {0: 0.1, 1: 0.1}}) == {}, "a spread of 0 tells nothing"
    assert shared_ranks({"a": {0: 0.9}, "b": {}}) == {"a": 1}
    assert shared_ranks({}) == {}


def test_a_pair_whose_differences_all_agree_takes_the_pooled_variance():
    found = {"a": {0: 0.50, 1: 0.52, 2: 0.54}, "b": {0: 0.30, 1: 0.32, 2: 0.34}, "c": {0: 0.1, 1: 0.9, 2: 0.4}}
    found["d"] = {0: 0.2, 1: 0.8, 2: 0.1}
    assert shared_ranks(found) == dict.fromkeys(found, 1)
