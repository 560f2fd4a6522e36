from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats import Variance, paired_difference, paired_variance, seed_correlation, seed_variance


def study(generator, methods: int, seeds: int, rho: float = 0.0, spread: float = 1.0) -> dict[str, dict[int, float]]:
    """Values with seed variance spread**2 and correlation rho between methods; true means 0, 1, 2, ..."""
    shared = generator.normal(0, spread * math.sqrt(rho), seeds)
    own = generator.normal(0, spread * math.sqrt(1 - rho), (methods, seeds))
    return {f"m{m}": {s: float(m + shared[s] + own[m, s]) for s in range(seeds)} for m in range(methods)}


def interaction_mean_square(values: dict[str, dict[int, float]]) -> float:
    """Textbook residual of a complete two-way layout, one sum at a time."""
    names, seeds = list(values), sorted(next(iter(values.values())))
    rows = {m: sum(values[m].values()) / len(seeds) for m in names}
    columns = {s: sum(values[m][s] for m in names) / len(names) for s in seeds}
    grand = sum(rows.values()) / len(names)
    total = sum((values[m][s] - rows[m] - columns[s] + grand) ** 2 for m in names for s in seeds)
    return total / ((len(names) - 1) * (len(seeds) - 1))


@pytest.mark.parametrize(("methods", "seeds"), [(2, 2), (2, 5), (3, 3), (7, 5), (12, 4)])
def test_paired_variance_of_a_complete_table(methods, seeds):
    values = study(np.random.default_rng(methods), methods, seeds, rho=0.4)
    found = paired_variance(values)
    assert found is not None
    assert found.df == (methods - 1) * (seeds - 1)
    assert found.value == pytest.approx(interaction_mean_square(values), rel=1e-10)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_two_methods_give_the_paired_t_interval_of_scipy(level):
    values = study(np.random.default_rng(3), 2, 6, rho=0.5)
    found = paired_difference(values["m1"], values["m0"], paired_variance(values), level)
    test = scipy_stats.ttest_rel(list(values["m1"].values()), list(values["m0"].values()))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(test.confidence_interval(level), rel=1e-10)
    assert (found.df, found.n) == (5, 6)


def test_missing_runs_keep_what_is_known():
    """With runs missing, the residual is that of a fit which leaves them out; checked by brute-force minimising."""
    values = study(np.random.default_rng(5), 3, 4, rho=0.3)
    del values["m1"][0], values["m2"][3]
    found = paired_variance(values)
    assert found is not None
    assert found.df == 10 - (3 + 4 - 1)
    rows, columns = dict.fromkeys(values, 0.0), dict.fromkeys(range(4), 0.0)
    for _ in range(3000):
        for m in values:
            rows[m] = sum(values[m][s] - columns[s] for s in values[m]) / len(values[m])
        for s in columns:
            having = [m for m in values if s in values[m]]
            columns[s] = sum(values[m][s] - rows[m] for m in having) / len(having)
    squares = sum((values[m][s] - rows[m] - columns[s]) ** 2 for m in values for s in values[m])
    assert found.value == pytest.approx(squares / found.df, rel=1e-9)
    difference = paired_difference(values["m1"], values["m0"], found)
    assert difference is not None
    assert difference.n == 3
    assert difference.estimate == pytest.approx(np.mean([values["m1"][s] - values["m0"][s] for s in (1, 2, 3)]))


def test_methods_without_common_seeds_are_not_compared():
    values = {"a": {0: 1.0, 1: 2.0}, "b": {2: 1.0, 3: 3.0}}
    assert paired_variance(values) is None
    assert paired_difference(values["a"], values["b"], Variance(1.0, 5)) is None


@pytest.mark.parametrize("values", [{}, {"a": {}}, {"a": {0: 1.0, 1: 2.0}}, {"a": {0: 1.0}, "b": {0: 2.0}}])
def test_too_little_for_a_paired_variance(values):
    assert paired_variance(values) is None
    assert seed_correlation(paired_variance(values), seed_variance(values)) is None
    assert paired_difference({0: 1.0}, {0: 2.0}, None) is None


def test_an_empty_method_changes_nothing():
    values = study(np.random.default_rng(6), 3, 4)
    assert paired_variance({**values, "none": {}}) == paired_variance(values)


def test_seed_variance_is_the_anova_mean_square_within():
    values = study(np.random.default_rng(8), 4, 5)
    del values["m2"][1], values["m3"][0], values["m3"][1]
    values["single"] = {0: 7.0}
    found = seed_variance(values)
    groups = [list(v.values()) for v in values.values()]
    sizes = [len(group) - 1 for group in groups]
    expected = sum(np.var(group, ddof=1) * size for group, size in zip(groups, sizes, strict=True) if size) / sum(sizes)
    assert found is not None
    assert found.df == sum(sizes) == 13
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert seed_variance({"a": {0: 1.0}}) is None


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_seed_correlation_estimates_rho(rho):
    values = study(np.random.default_rng(9), 30, 200, rho)
    assert seed_correlation(paired_variance(values), seed_variance(values)) == pytest.approx(rho, abs=0.12)


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (7, 3), (7, 5)])
@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_difference_intervals_cover(methods, seeds, rho):
    generator = np.random.default_rng(1000 * methods + seeds)
    studies = 1500
    covered = 0
    for _ in range(studies):
        values = study(generator, methods, seeds, rho, spread=0.3)
        found = paired_difference(values["m1"], values["m0"], paired_variance(values))
        assert found is not None
        covered += found.low <= 1 <= found.high
    assert abs(covered / studies - 0.95) < 3.5 * (0.95 * 0.05 / studies) ** 0.5


def test_difference_intervals_cover_with_missing_runs():
    generator = np.random.default_rng(77)
    studies = 1500
    covered = 0
    for _ in range(studies):
        values = study(generator, 5, 4, 0.5)
        del values["m1"][0], values["m0"][1], values["m3"][2]
        found = paired_difference(values["m1"], values["m0"], paired_variance(values))
        assert found is not None
        assert found.n == 2
        covered += found.low <= 1 <= found.high
    assert abs(covered / studies - 0.95) < 3.5 * (0.95 * 0.05 / studies) ** 0.5
