"""Intervals and differences for few seeds. NumPy and scipy.special only, imported when first needed."""

from bench.stats.comparison import Comparison, compare, equal_spread_probability
from bench.stats.differences import (
    BySeed,
    Variance,
    paired_difference,
    paired_variance,
    seed_correlation,
    seed_variance,
)
from bench.stats.interval import LEVEL, Interval, mean_interval, median_interval, t_interval
from bench.stats.power import POWER, detectable_difference
from bench.stats.summary import interquartile_range, mean, median, quantile, sd

__all__ = [
    "LEVEL",
    "POWER",
    "BySeed",
    "Comparison",
    "Interval",
    "Variance",
    "compare",
    "detectable_difference",
    "equal_spread_probability",
    "interquartile_range",
    "mean",
    "mean_interval",
    "median",
    "median_interval",
    "paired_difference",
    "paired_variance",
    "quantile",
    "sd",
    "seed_correlation",
    "seed_variance",
    "t_interval",
]
