"""One method's differences in several cells taken together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.stats.estimate import Estimate
from bench.stats.special import f_tail
from bench.stats.summary import mean
from bench.stats.variance import Variance

_ROUNDING = 1e-9
"""Freedoms that should add up to a whole number must not lose one to rounding."""


def mean_effect(estimates: Sequence[Estimate]) -> Estimate | None:
    """The mean of the cells' differences, cells as blocks of equal weight; None for no estimate.

    Its error comes from the seeds alone, so it holds for these cells. Estimates of different cells are independent
    but for a variance that they share; Satterthwaite (1946) gives the degrees of freedom where there are several
    variances, rounded down.
    """
    if not estimates:
        return None
    squares: dict[str, float] = {}
    freedoms: dict[str, int] = {}
    for one in estimates:
        squares[one.source] = squares.get(one.source, 0.0) + one.error**2 / len(estimates) ** 2
        freedoms[one.source] = one.variance.df
    total = math.fsum(squares.values())
    if len(squares) == 1:
        df = next(iter(freedoms.values()))
    else:
        exact = total**2 / math.fsum(square**2 / freedoms[source] for source, square in squares.items())
        df = math.floor(exact + _ROUNDING)
    value = mean([one.value for one in estimates])
    return Estimate(value, 1.0, Variance(total, max(1, df)), "mean over cells", len(estimates))


def heterogeneity_probability(estimates: Sequence[Estimate]) -> float | None:
    """p value that the true difference is the same in all cells; None for fewer than 2.

    Cochran's weighted sum of squares over (cells - 1) against F(cells - 1, df of the mean effect): the F test of the
    method-by-cell interaction where one variance serves all cells, approximate where there are several.
    """
    effect = mean_effect(estimates)
    if effect is None or len(estimates) < 2:
        return None
    weights = [1 / one.error**2 for one in estimates]
    centre = math.fsum(weight * one.value for weight, one in zip(weights, estimates, strict=True)) / math.fsum(weights)
    scatter = math.fsum(weight * (one.value - centre) ** 2 for weight, one in zip(weights, estimates, strict=True))
    between = len(estimates) - 1
    return f_tail(between, effect.variance.df, scatter / between)
