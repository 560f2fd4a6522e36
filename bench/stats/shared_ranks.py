"""Ranks within a cell that methods share where their seeds cannot tell them apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from bench.stats.comparison import equal_spread_probability
from bench.stats.differences import BySeed, paired_variance
from bench.stats.homogeneity import EQUAL_SPREAD_LEVEL
from bench.stats.interval import LEVEL
from bench.stats.multiplicity import holm
from bench.stats.special import t_tails_of
from bench.stats.spread import NO_SPREAD
from bench.stats.variance import Variance

if TYPE_CHECKING:
    import numpy as np

_ROUNDING = 1e-12
"""Paired differences that scatter less than this all agree: chance on a small test set, not certainty."""


def shared_ranks(
    methods: Mapping[str, BySeed],
    ranked: Collection[str] | None = None,
    variance: Variance | None = None,
    level: float = LEVEL,
) -> dict[str, int]:
    """Each method's rank: 1 + the number of methods that are shown to be better; higher values are better.

    All pairs of ranked methods are tested by Student's t over the seeds that both have, and Holm (1979) corrects over
    those pairs, so that the chance of any false order in the cell is at most 1 - level. The variance is the one that
    `compare` takes: pooled over methods, or each pair's own differences where Bartlett's test finds unequal spreads.
    Not being told apart does not carry over: if A and C both share a rank with B, C may still be shown worse than A.

    methods: values by seed. ranked: those that get a rank, all by default; the others only help to tell the spread.
    variance: `paired_variance` of methods, where it is known. Empty where no pair can be tested: with one seed each,
    nothing is told apart, and a rank for that would look like a finding. A lone method has rank 1.
    """
    names = [name for name in methods if methods[name] and (ranked is None or name in ranked)]
    if len(names) < 2:
        return dict.fromkeys(names, 1)
    pooled = equal_spread_probability(methods) >= EQUAL_SPREAD_LEVEL
    gaps, p_values = _tests([methods[name] for name in names], variance or paired_variance(methods), pooled)
    places = range(len(names))
    tested = {(i, j): float(p_values[i, j]) for i in places for j in places[i + 1 :] if p_values[i, j] <= 1}
    if not tested:
        return {}
    found = dict.fromkeys(names, 1)
    for (i, j), adjusted in holm(tested).items():
        if adjusted < 1 - level:
            found[names[j] if gaps[i, j] > 0 else names[i]] += 1
    return found


def _tests(values: list[BySeed], variance: Variance | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """By pair the mean difference over common seeds and its p value, not a number where there is no test."""
    import numpy as np

    seeds = sorted({seed for one in values for seed in one})
    laid = np.array([[one.get(seed, np.nan) for seed in seeds] for one in values])
    gaps = laid[:, None] - laid[None]
    there = ~np.isnan(gaps)
    common = there.sum(2)
    middle = _divided(np.where(there, gaps, 0).sum(2), common)
    squared, df = _pooled(variance, common)
    if not pooled:
        deviations = np.where(there, gaps - middle[..., None], 0)
        own = _divided((deviations**2).sum(2), common - 1)
        usable = (common > 1) & (own > _ROUNDING**2)
        squared, df = np.where(usable, _divided(own, common), squared), np.where(usable, common - 1, df)
    return middle, t_tails_of(df, _divided(middle, np.sqrt(squared)))


def _pooled(variance: Variance | None, common: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared error of each pair's difference, and its degrees of freedom."""
    import numpy as np

    if variance is None or variance.value <= NO_SPREAD:
        return np.full(common.shape, np.nan), np.ones(common.shape)
    return _divided(2 * variance.value, common), np.full(common.shape, variance.df)


def _divided(numerator: Any, denominator: np.ndarray) -> np.ndarray:
    """Not a number where the denominator is not above 0."""
    import numpy as np

    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)
