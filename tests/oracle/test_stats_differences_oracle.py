"""Differences, their pooling and their means over cells against scipy and statsmodels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.regression.linear_model import GLS, OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from bench.stats import (
    Estimate,
    Variance,
    cell_difference,
    equal_variance_probability,
    heterogeneity_probability,
    holm,
    mean_effect,
    paired_difference,
    spreads,
    weighted_difference,
)


def values(generator, methods: int, seeds, rho: float = 0.4, spread: float = 0.3) -> dict[str, dict[int, float]]:
    shared = generator.normal(0, spread * math.sqrt(rho), len(seeds))
    own = generator.normal(0, spread * math.sqrt(1 - rho), (methods, len(seeds)))
    return {
        f"m{m}": {seed: float(0.2 * m + shared[at] + own[m, at]) for at, seed in enumerate(seeds)}
        for m in range(methods)
    }


def numbers(method: dict[int, float]) -> list[float]:
    return [method[seed] for seed in sorted(method)]


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(count):
    generator = np.random.default_rng(count)
    for scale in (1.0, 0.05):
        p_values = (scale * generator.random(count)).round(2 if count == 40 else 9).tolist()
        expected = multipletests(p_values, method="holm")[1]
        found = holm(dict(enumerate(p_values)))
        assert list(found) == list(range(count))
        assert list(found.values()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize(
    ("own", "base"),
    [(range(3), range(10)), (range(5), range(2, 7)), (range(4), range(4)), (range(3), range(3, 5)), ([0], range(9))],
)
def test_weighted_difference_is_generalised_least_squares(rho, own, base):
    generator = np.random.default_rng(len(own) + 10 * len(base))
    method = {seed: float(generator.normal(1, 1)) for seed in own}
    reference = {seed: float(generator.normal(0, 1)) for seed in base}
    found = weighted_difference(method, reference, Variance(0.07, 5), rho, "here")
    used = min(max(rho, 0.0), 0.99)
    entries = [(0, seed) for seed in own] + [(1, seed) for seed in base]
    design = np.array([[float(which == 0), float(which == 1)] for which, _ in entries])
    single = 0.07 / (1 - used)
    covariance = np.array(
        [
            [single * (1.0 if one == other else used if one[1] == other[1] else 0.0) for other in entries]
            for one in entries
        ]
    )
    fit = GLS([method[s] for s in own] + [reference[s] for s in base], design, sigma=covariance).fit()
    contrast = np.array([1.0, -1.0])
    assert found is not None
    assert found.value == pytest.approx(fit.params @ contrast, rel=1e-9)
    assert found.error**2 == pytest.approx(contrast @ fit.normalized_cov_params @ contrast, rel=1e-9)


def test_complete_seeds_give_the_tables_interval_whatever_the_correlation():
    methods = values(np.random.default_rng(3), 4, range(5))
    spread = spreads({"only": methods}, "m0")["only"]
    for name in ("m1", "m3"):
        found = cell_difference(name, methods, "m0", spread)
        assert found is not None
        assert found.interval() == pytest.approx(paired_difference(methods[name], methods["m0"], spread.paired))


def test_two_methods_in_one_cell_are_the_paired_t_test():
    methods = values(np.random.default_rng(4), 2, range(6))
    found = cell_difference("m1", methods, "m0", spreads({"only": methods}, "m0")["only"])
    test = scipy_stats.ttest_rel(numbers(methods["m1"]), numbers(methods["m0"]))
    assert found is not None
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)
    assert found.interval(0.9)[1:3] == pytest.approx(test.confidence_interval(0.9), rel=1e-9)


def test_two_methods_without_a_common_seed_are_the_unpaired_t_test():
    generator = np.random.default_rng(5)
    methods = {"m0": values(generator, 1, range(6))["m0"], "m1": values(generator, 1, range(10, 14))["m0"]}
    found = cell_difference("m1", methods, "m0", spreads({"only": methods}, "m0")["only"])
    test = scipy_stats.ttest_ind(numbers(methods["m1"]), numbers(methods["m0"]))
    assert found is not None
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-9)
    assert found.interval()[1:3] == pytest.approx(test.confidence_interval(), rel=1e-9)


def test_one_variance_for_a_data_set_is_the_residual_of_one_linear_model():
    """Cell x method and cell x seed effects, fitted together by statsmodels; a run is missing."""
    generator = np.random.default_rng(6)
    cells = {name: values(generator, 3, range(4)) for name in ("a", "b", "c")}
    del cells["b"]["m2"][1]
    found = spreads(cells, "m0")
    assert {spread.pooled for spread in found.values()} == {"data set"}
    entries = [(c, m, s, y) for c, methods in cells.items() for m, own in methods.items() for s, y in own.items()]
    columns = sorted({(c, m) for c, m, _, _ in entries}) + sorted({(c, s) for c, _, s, _ in entries if s > 0})
    design = np.array([[float(key in ((c, m), (c, s))) for key in columns] for c, m, s, _ in entries])
    fit = OLS([y for *_, y in entries], design).fit()
    assert found["a"].paired == pytest.approx((fit.mse_resid, fit.df_resid), rel=1e-9)
    assert replace(found["a"], equal=None) == replace(found["c"], equal=None), "all but the chance within the cell"


@pytest.mark.parametrize("sizes", [(4, 4), (3, 9, 5), (2, 2, 2, 30)])
def test_equal_variances_are_scipys_bartlett(sizes):
    groups = [np.random.default_rng(size + at).normal(0, 1 + at, size) for at, size in enumerate(sizes)]
    variances = [Variance(float(group.var(ddof=1)), len(group) - 1) for group in groups]
    assert equal_variance_probability(variances) == pytest.approx(scipy_stats.bartlett(*groups).pvalue, rel=1e-9)


def test_mean_of_two_cells_with_variances_of_their_own_is_welchs():
    generator = np.random.default_rng(7)
    first, second = generator.normal(0.5, 0.2, 5), generator.normal(0.2, 0.9, 8)
    estimates = [
        Estimate(float(one.mean()), 1 / len(one), Variance(float(one.var(ddof=1)), len(one) - 1), str(at), len(one))
        for at, one in enumerate((first, second))
    ]
    found = mean_effect(estimates)
    welch = scipy_stats.ttest_ind(first, -second, equal_var=False)
    assert found is not None
    assert found.value / found.error == pytest.approx(welch.statistic, rel=1e-9)
    assert found.variance.df == math.floor(welch.df)


def test_mean_over_cells_with_one_variance_is_the_models_contrast():
    cells = {name: values(np.random.default_rng(ord(name)), 2, range(4)) for name in ("a", "b", "c")}
    found = spreads(cells, "m0")
    estimates = [cell_difference("m1", methods, "m0", found[name]) for name, methods in cells.items()]
    effect = mean_effect([one for one in estimates if one is not None])
    gaps = [[methods["m1"][s] - methods["m0"][s] for s in range(4)] for methods in cells.values()]
    error = math.sqrt(np.mean([np.var(gap, ddof=1) for gap in gaps]) / 12)
    expected = scipy_stats.t.interval(0.95, 9, np.mean(gaps), error)
    assert effect is not None
    assert effect.interval()[1:3] == pytest.approx(expected, rel=1e-9)


def test_differing_cells_are_found_as_by_one_way_analysis_of_variance():
    generator = np.random.default_rng(8)
    for shift in (0.0, 1.0):
        cells = {name: values(generator, 2, range(5)) for name in ("a", "b", "c")}
        for seed in range(5):
            cells["c"]["m1"][seed] += shift
        found = spreads(cells, "m0")
        assert found["a"].pooled == "data set"
        estimates = [cell_difference("m1", methods, "m0", found[name]) for name, methods in cells.items()]
        gaps = [[methods["m1"][s] - methods["m0"][s] for s in range(5)] for methods in cells.values()]
        expected = scipy_stats.f_oneway(*gaps).pvalue
        assert heterogeneity_probability([one for one in estimates if one]) == pytest.approx(expected, rel=1e-9)
    assert heterogeneity_probability([]) is None


def test_what_is_excluded_is_where_two_one_sided_tests_turn():
    methods = values(np.random.default_rng(9), 2, range(7))
    found = cell_difference("m1", methods, "m0", spreads({"only": methods}, "m0")["only"])
    assert found is not None
    margin = found.excluded_beyond()
    own, base = np.array(numbers(methods["m1"])), np.array(numbers(methods["m0"]))
    assert ttost_paired(own, base, -margin, margin)[0] == pytest.approx(0.05, rel=1e-9)
