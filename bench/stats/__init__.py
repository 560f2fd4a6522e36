"""Intervals and differences for few seeds. NumPy and scipy.special only, imported when first needed."""

from bench.stats.across_cells import heterogeneity_probability, mean_effect
from bench.stats.comparison import Comparison, compare, equal_spread_probability
from bench.stats.differences import (
    BySeed,
    paired_difference,
    paired_variance,
    seed_correlation,
    seed_variance,
)
from bench.stats.estimate import Estimate
from bench.stats.homogeneity import equal_variance_probability
from bench.stats.interval import LEVEL, Interval, mean_interval, median_interval, t_interval
from bench.stats.multiplicity import holm
from bench.stats.pairing import weighted_difference
from bench.stats.power import POWER, detectable_difference
from bench.stats.ranks import (
    FEWEST_DATA_SETS,
    critical_difference,
    friedman_probability,
    indistinct_groups,
    mean_ranks,
    ranks,
)
from bench.stats.resampling import (
    FEWEST_CELLS,
    FEWEST_RESAMPLED,
    RESAMPLES,
    SEED,
    Summaries,
    interquartile_mean,
    pairs_of,
    profile_thresholds,
    summaries,
)
from bench.stats.shared_ranks import shared_ranks
from bench.stats.spread import Spread, cell_difference, spreads
from bench.stats.summary import interquartile_range, mean, median, quantile, sd
from bench.stats.variance import Variance, pooled_variance

__all__ = [
    "FEWEST_CELLS",
    "FEWEST_DATA_SETS",
    "FEWEST_RESAMPLED",
    "LEVEL",
    "POWER",
    "RESAMPLES",
    "SEED",
    "BySeed",
    "Comparison",
    "Estimate",
    "Interval",
    "Spread",
    "Summaries",
    "Variance",
    "cell_difference",
    "compare",
    "critical_difference",
    "detectable_difference",
    "equal_spread_probability",
    "equal_variance_probability",
    "friedman_probability",
    "heterogeneity_probability",
    "holm",
    "indistinct_groups",
    "interquartile_mean",
    "interquartile_range",
    "mean",
    "mean_effect",
    "mean_interval",
    "mean_ranks",
    "median",
    "median_interval",
    "paired_difference",
    "paired_variance",
    "pairs_of",
    "pooled_variance",
    "profile_thresholds",
    "quantile",
    "ranks",
    "sd",
    "seed_correlation",
    "seed_variance",
    "shared_ranks",
    "spreads",
    "summaries",
    "t_interval",
    "weighted_difference",
]
