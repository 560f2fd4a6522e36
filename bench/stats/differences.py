"""Differences between methods that share their seeds, with the seed variance pooled over all methods of a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.stats.interval import LEVEL, Interval, t_interval
from bench.stats.summary import mean, sum_of_squares
from bench.stats.variance import Variance

BySeed = Mapping[int, float]
"""One method's values by seed."""


def seed_variance(methods: Mapping[str, BySeed]) -> Variance | None:
    """Variance over seeds within methods, pooled: squared deviations from each method's own mean over sum (n - 1)."""
    groups = [list(values.values()) for values in methods.values() if len(values) > 1]
    df = sum(len(group) - 1 for group in groups)
    return Variance(math.fsum(sum_of_squares(group) for group in groups) / df, df) if df else None


def paired_variance(methods: Mapping[str, BySeed]) -> Variance | None:
    """Variance that is left in single values once each method and each seed has its own effect.

    The residual mean square of the two-way layout value = method + seed + residual, fitted by least squares so that
    missing runs are allowed; df = values - rank, which is (methods - 1)(seeds - 1) when none is missing. If two
    methods' values under one seed correlate by rho, it estimates (1 - rho) times the seed variance: pairing is used
    as far as the data support it. One variance for all methods is an assumption. None where no freedom is left.
    """
    import numpy as np

    names = [name for name, values in methods.items() if values]
    seeds = sorted({seed for name in names for seed in methods[name]})
    entries = [
        (row, seeds.index(seed), value) for row, name in enumerate(names) for seed, value in methods[name].items()
    ]
    if len(names) < 2:
        return None
    design = np.zeros((len(entries), len(names) + len(seeds)))
    values = np.array([value for _, _, value in entries])
    for place, (row, column, _) in enumerate(entries):
        design[place, row] = design[place, len(names) + column] = 1
    values = values - values.mean()
    df = len(entries) - int(np.linalg.matrix_rank(design))
    if df < 1:
        return None
    residuals: list[float] = (values - design @ (np.linalg.pinv(design) @ values)).tolist()
    return Variance(math.fsum(residual**2 for residual in residuals) / df, df)


def seed_correlation(paired: Variance | None, single: Variance | None) -> float | None:
    """How far methods move together over seeds: 1 - paired variance / seed variance. None where it is undefined."""
    return 1 - paired.value / single.value if paired and single and single.value > 0 else None


def paired_difference(
    method: BySeed, reference: BySeed, variance: Variance | None, level: float = LEVEL
) -> Interval | None:
    """Mean difference over the seeds that both have, +- t * sqrt(2 * variance / pairs).

    `variance` is `paired_variance` of all methods of the cell and metric. None without a common seed or a variance.
    """
    common = sorted(method.keys() & reference.keys())
    if not common or variance is None:
        return None
    error = math.sqrt(2 * variance.value / len(common))
    return t_interval(mean([method[seed] - reference[seed] for seed in common]), error, variance.df, len(common), level)
