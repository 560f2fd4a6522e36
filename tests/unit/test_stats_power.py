from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats import Variance, detectable_difference
from bench.stats.special import fair_coin_cdf, noncentral_t_cdf, t_quantile


@pytest.mark.parametrize("df", [1, 2, 4, 24, 200])
def test_distributions_are_scipys(df):
    for probability in (0.6, 0.9, 0.975, 0.9995):
        assert t_quantile(df, probability) == pytest.approx(scipy_stats.t.ppf(probability, df), rel=1e-9)
    for shift in (0.0, 1.5, 4.0):
        assert noncentral_t_cdf(df, shift, 2.2) == pytest.approx(scipy_stats.nct.cdf(2.2, df, shift), abs=1e-9)
    assert fair_coin_cdf(df // 2, df) == pytest.approx(scipy_stats.binom.cdf(df // 2, df, 0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("spread", "pairs", "df", "expected"),
    [
        (0.2, 3, 16, 0.42),
        (0.3, 3, 16, 0.64),
        (0.2, 5, 32, 0.32),
        (0.3, 5, 32, 0.48),
        (0.15, 5, 4, 0.29),
        (0.2, 3, 2, 0.65),
    ],
)
def test_known_detectable_differences(spread, pairs, df, expected):
    """Differences found with 80 % power by a one-sided 5 % test, that is by a 90 % interval: published design table."""
    found = detectable_difference(Variance(spread**2, df), pairs, level=0.9)
    assert found == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("pairs", "df"), [(3, 2), (3, 12), (5, 24)])
def test_a_difference_of_that_size_is_found_in_the_stated_share_of_studies(pairs, df):
    generator = np.random.default_rng(pairs * 100 + df)
    studies = 40_000
    true = detectable_difference(Variance(0.09, df), pairs)
    error = math.sqrt(2 * 0.09 / pairs)
    estimate = generator.normal(true, error, studies)
    standard_error = error * np.sqrt(generator.chisquare(df, studies) / df)
    found = np.abs(estimate) > scipy_stats.t.ppf(0.975, df) * standard_error
    assert found.mean() == pytest.approx(0.8, abs=3.5 * math.sqrt(0.16 / studies))


def test_statistics_do_not_import_scipy_stats_or_torch():
    program = (
        "import sys; from bench.stats import *\n"
        "detectable_difference(Variance(1.0, 4), 3); median_interval([1.0] * 9)\n"
        "paired_variance({'a': {0: 1.0, 1: 2.0}, 'b': {0: 2.0, 1: 1.0}})\n"
        "print([name for name in ('scipy.stats', 'torch', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
