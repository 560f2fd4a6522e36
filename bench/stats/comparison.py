"""Every method of a cell against the reference, with the pooled variance where that is sound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.stats.differences import BySeed, paired_difference, paired_variance
from bench.stats.homogeneity import EQUAL_SPREAD_LEVEL, equal_variance_probability
from bench.stats.interval import LEVEL, Interval, mean_interval
from bench.stats.summary import sum_of_squares
from bench.stats.variance import Variance


@dataclass(frozen=True)
class Comparison:
    """intervals: by method its difference to the reference, None where it cannot be told.

    pooled: whether one variance served all methods. variance: the paired variance of all methods.
    """

    intervals: dict[str, Interval | None]
    pooled: bool
    variance: Variance | None


def compare(
    methods: Mapping[str, BySeed], reference: str, level: float = LEVEL, variance: Variance | None = None
) -> Comparison:
    """Differences to the reference method, paired by seed. variance: `paired_variance` of them, where it is known.

    The variance is pooled over methods unless Bartlett's test finds their spreads unequal; then each method's own
    paired differences give a t interval with pairs - 1 degrees of freedom. In simulations with seven methods and
    equal spread both rules cover 95 %; where one method's spread is three times the others', the pooled interval
    alone covers 74-80 % of the time for it, this rule 85-95 % from 5 seeds on.
    """
    variance = variance or paired_variance(methods)
    pooled = equal_spread_probability(methods) >= EQUAL_SPREAD_LEVEL
    intervals: dict[str, Interval | None] = {}
    for name, values in methods.items():
        if name == reference:
            continue
        own = None if pooled else _own_interval(values, methods.get(reference, {}), level)
        intervals[name] = own or paired_difference(values, methods.get(reference, {}), variance, level)
    return Comparison(intervals, pooled, variance)


def equal_spread_probability(methods: Mapping[str, BySeed]) -> float:
    """p value of Bartlett's test (1937) that all methods have one seed variance; 1 where it cannot be tested."""
    groups = [list(values.values()) for values in methods.values() if len(values) > 1]
    return equal_variance_probability(
        [Variance(sum_of_squares(group) / (len(group) - 1), len(group) - 1) for group in groups]
    )


def _own_interval(values: BySeed, reference: BySeed, level: float) -> Interval | None:
    """None also where all differences agree: that is chance on a small test set, not certainty."""
    found = mean_interval([values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())], level)
    return found if found and not math.isclose(found.low, found.high, rel_tol=1e-9, abs_tol=1e-12) else None
