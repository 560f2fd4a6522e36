from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats import compare, equal_spread_probability, mean_interval, paired_difference, paired_variance
from bench.stats.special import chi_square_tail


def study(generator, spreads: list[float], seeds: int, rho: float = 0.0) -> dict[str, dict[int, float]]:
    shared = generator.normal(0, math.sqrt(rho), seeds)
    own = generator.normal(0, math.sqrt(1 - rho), (len(spreads), seeds))
    return {
        f"m{place}": {seed: float(spread * (shared[seed] + own[place, seed])) for seed in range(seeds)}
        for place, spread in enumerate(spreads)
    }


@pytest.mark.parametrize("df", [1, 6, 20])
def test_chi_square_tail_is_scipys(df):
    for value in (0.0, 0.5, 8.0, 60.0):
        assert chi_square_tail(df, value) == pytest.approx(scipy_stats.chi2.sf(value, df), rel=1e-9)


@pytest.mark.parametrize("sizes", [(5, 5), (3, 4, 9), (2, 2, 2, 2), (10, 3, 3, 5, 6, 7)])
def test_equal_spread_is_scipys_bartlett(sizes):
    generator = np.random.default_rng(sum(sizes))
    groups = [generator.normal(0, 1 + place, size).tolist() for place, size in enumerate(sizes)]
    methods = {str(place): dict(enumerate(group)) for place, group in enumerate(groups)}
    expected = scipy_stats.bartlett(*groups).pvalue
    assert equal_spread_probability({**methods, "single": {0: 1.0}}) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({}, 1.0),
        ({"a": {0: 1.0, 1: 2.0}}, 1.0),
        ({"a": {0: 1.0, 1: 1.0}, "b": {0: 2.0, 1: 2.0}}, 1.0),
        ({"a": {0: 1.0, 1: 1.0}, "b": {0: 2.0, 1: 3.0}}, 0.0),
        ({"a": {0: 1.0, 1: 2.0}, "b": {0: 2.0, 1: 3.0}}, 1.0),
    ],
)
def test_equal_spread_at_its_borders(methods, expected):
    assert equal_spread_probability(methods) == pytest.approx(expected)


def test_equal_spreads_are_pooled():
    methods = study(np.random.default_rng(1), [1.0, 1.0, 1.0, 1.0], 5, rho=0.5)
    found = compare(methods, "m0")
    assert found.pooled
    assert found.variance == paired_variance(methods)
    assert list(found.intervals) == ["m1", "m2", "m3"]
    assert found.intervals["m2"] == paired_difference(methods["m2"], methods["m0"], found.variance)


def test_unequal_spreads_use_each_methods_own_differences():
    methods = study(np.random.default_rng(2), [1.0, 1.0, 20.0], 6)
    methods["one run"] = {0: 3.0}
    found = compare(methods, "m0")
    assert not found.pooled
    expected = scipy_stats.ttest_rel(list(methods["m2"].values()), list(methods["m0"].values())).confidence_interval()
    interval = found.intervals["m2"]
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.df == 5
    assert found.intervals["one run"] == paired_difference({0: 3.0}, methods["m0"], found.variance)


def test_no_spread_at_all_in_a_difference_is_no_certainty():
    methods = {"erm": {0: 0.1, 1: 0.2}, "a": {0: 0.2, 1: 0.3}, "b": {0: 0.1, 1: 900.0}, "c": {0: 0.4, 1: 0.4}}
    found = compare(methods, "erm")
    assert not found.pooled
    assert mean_interval([0.1, 0.1]) == (0.1, 0.1, 0.1, 1, 2)
    interval = found.intervals["a"]
    assert interval is not None
    assert interval.high - interval.low > 1


def test_without_the_reference_nothing_is_compared():
    assert compare(study(np.random.default_rng(3), [1.0, 1.0], 4), "erm").intervals == {"m0": None, "m1": None}


@pytest.mark.parametrize(
    ("spreads", "seeds", "lowest"),
    [([1.0] * 7, 3, 0.93), ([1.0] * 7, 5, 0.93), ([1, 3, 1, 1, 1, 1, 1], 5, 0.83), ([1, 6, 1, 1, 1, 1, 1], 5, 0.92)],
)
@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_coverage_with_equal_and_unequal_spreads(spreads, seeds, lowest, rho):
    generator = np.random.default_rng(int(10 * sum(spreads)) + seeds)
    studies = 1000
    covered = dict.fromkeys([f"m{place}" for place in range(1, len(spreads))], 0)
    for _ in range(studies):
        for name, interval in compare(study(generator, spreads, seeds, rho), "m0").intervals.items():
            assert interval is not None
            covered[name] += interval.low <= 0 <= interval.high
    assert min(covered.values()) / studies >= lowest
