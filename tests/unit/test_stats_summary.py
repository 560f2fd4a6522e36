from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats import interquartile_range, mean, mean_interval, median, median_interval, quantile, sd

VALUES = np.random.default_rng(20260102).lognormal(size=(6, 11))


@pytest.mark.parametrize("values", VALUES.tolist())
def test_moments_and_quantiles_match_numpy_and_the_standard_library(values):
    assert mean(values) == pytest.approx(np.mean(values), rel=1e-14)
    assert sd(values) == pytest.approx(statistics.stdev(values), rel=1e-14)
    assert median(values) == statistics.median(values)
    assert interquartile_range(values) == pytest.approx(scipy_stats.iqr(values), rel=1e-13)
    for share in (0, 0.05, 0.25, 0.5, 0.9, 1):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-13)
        assert quantile(values[:2], share) == pytest.approx(np.quantile(values[:2], share), rel=1e-13)


def test_sums_do_not_depend_on_the_order():
    values = [1e16, 1.0, -1e16, 0.1, 0.2, 0.3]
    assert mean(values) == mean(values[::-1]) == mean(sorted(values))


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match=r"^a mean needs at least 1 value\(s\), got 0$"):
        mean([])
    with pytest.raises(ValueError, match=r"^a standard deviation needs at least 2"):
        sd([1.0])
    with pytest.raises(ValueError, match=r"^a quantile needs at least 1"):
        median([])


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("count", [2, 3, 5, 11])
def test_mean_interval_is_scipys(count, level):
    values = VALUES[0, :count].tolist()
    found = mean_interval(values, level)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(level)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-10)
    assert (found.estimate, found.df, found.n) == (mean(values), count - 1, count)


def test_one_value_has_no_interval():
    assert mean_interval([1.0]) is None
    assert mean_interval([]) is None


@pytest.mark.parametrize("count", range(1, 40))
def test_median_interval_is_the_narrowest_with_enough_coverage(count):
    """By hand: sum the binomial probabilities of every symmetric pair of order statistics."""
    probabilities = [scipy_stats.binom.pmf(k, count, 0.5) for k in range(count + 1)]
    enough = [k for k in range(1, (count + 1) // 2 + 1) if sum(probabilities[k : count - k + 1]) >= 0.95]
    found = median_interval([float(value) for value in range(1, count + 1)])
    if not enough:
        assert found is None
        assert count < 6
    else:
        assert found is not None
        assert (found.low, found.high) == (max(enough), count + 1 - max(enough))
        assert found.estimate == (count + 1) / 2
        assert found.n == count


@pytest.mark.parametrize("count", [6, 10, 15, 30])
@pytest.mark.parametrize("outliers", [0.0, 0.15])
def test_median_interval_covers_with_and_without_slow_outliers(count, outliers):
    """Ratios of two noisy step times; some rounds are slowed by something else on the machine."""
    generator = np.random.default_rng(count)
    studies = 4000
    ratios = 1.3 * np.exp(generator.normal(0, 0.05, (studies, count)))
    ratios *= np.where(
        generator.random((studies, count)) < outliers, 10.0 ** generator.choice([-1, 1], (studies, count)), 1
    )
    covered = 0
    for study in ratios.tolist():
        found = median_interval(study)
        assert found is not None
        covered += found.low <= 1.3 <= found.high
    assert covered / studies >= 0.95 - 3 * (0.95 * 0.05 / studies) ** 0.5


@pytest.mark.parametrize("count", [3, 5])
def test_mean_interval_covers(count):
    generator = np.random.default_rng(count)
    studies = 6000
    covered = sum(
        1
        for study in generator.normal(70, 0.3, (studies, count)).tolist()
        if (found := mean_interval(study)) and found.low <= 70 <= found.high
    )
    assert abs(covered / studies - 0.95) < 3.5 * (0.95 * 0.05 / studies) ** 0.5
