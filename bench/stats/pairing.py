"""A difference of two methods that share some of their seeds, paired as far as methods correlate over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.stats.differences import BySeed
from bench.stats.estimate import Estimate
from bench.stats.summary import mean
from bench.stats.variance import Variance

LARGEST_CORRELATION = 0.99


def usable_correlation(measured: float | None) -> float:
    """The correlation that weighs lone seeds: the measured one, held in [0, 0.99]; 0 where it could not be measured."""
    return min(max(measured or 0.0, 0.0), LARGEST_CORRELATION)


def weighted_difference(
    method: BySeed, reference: BySeed, paired: Variance, correlation: float | None, source: str
) -> Estimate | None:
    """The difference of two means by generalised least squares over common seeds and seeds that only one has.

    Values of two methods under one seed correlate by rho, others do not; `paired` is the variance that is left
    within seeds, (1 - rho) times that of single values. With equal seeds the result is the mean paired difference
    with the squared error 2 * paired / n, whatever rho. A seed that only one method has counts the more the smaller
    rho is: at rho = 0 the result is the difference of the two means over all their seeds. None where a method has no
    value.
    """
    if not method or not reference:
        return None
    rho = usable_correlation(correlation)
    common = sorted(method.keys() & reference.keys())
    lone = [sorted(method.keys() - reference.keys()), sorted(reference.keys() - method.keys())]
    pairs, lone_weight = len(common), 1 - rho * rho
    own, other = _sum(method, common), _sum(reference, common)
    right = [
        own - rho * other + lone_weight * _sum(method, lone[0]),
        other - rho * own + lone_weight * _sum(reference, lone[1]),
    ]
    first, second = (pairs + lone_weight * len(seeds) for seeds in lone)
    across = rho * pairs
    determinant = first * second - across * across
    value = ((second - across) * right[0] - (first - across) * right[1]) / determinant
    factor = (1 + rho) * (first + second - 2 * across) / determinant
    if not lone[0] and not lone[1]:
        value, factor = mean([method[seed] - reference[seed] for seed in common]), 2 / pairs
    return Estimate(value, factor, paired, source, pairs if pairs else len(method))


def _sum(values: BySeed, seeds: Sequence[int]) -> float:
    return sum(values[seed] for seed in seeds)
