"""The seed variance behind a gate's standard errors, for one study or, in simulations, for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.stats.comparison import EQUAL_SPREAD_LEVEL

Floats = NDArray[np.float64]


class Spread(NamedTuple):
    """variance, df: (..., arms), the variance of single runs and its degrees of freedom; own variances or pooled."""

    variance: Floats
    df: Floats


def own_spread(values: Floats) -> Spread:
    """Variance over seeds of each arm alone. values: (..., seeds, arms), NaN where an arm has no run."""
    freedoms = (np.isfinite(values).sum(axis=-2) - 1).astype(np.float64)
    squares = np.nansum((values - np.nanmean(values, axis=-2, keepdims=True)) ** 2, axis=-2)
    return Spread(squares / freedoms, freedoms)


def seed_spread(values: Floats, groups: Sequence[int]) -> Spread:
    """Variance over seeds within arms, pooled over each group's arms unless their spreads are found unequal.

    values: (..., seeds, arms), NaN where an arm has no run. groups: for each arm the number of its group, such as one
    data set and metric; variances of different groups are never pooled. Spreads are unequal where Bartlett's test
    gives less than EQUAL_SPREAD_LEVEL; every arm of the group then keeps its own variance.
    """
    variance, freedoms = own_spread(values)
    squares, df = variance * freedoms, freedoms.copy()
    for group in sorted(set(groups)):
        own = np.flatnonzero(np.asarray(groups) == group)
        total = freedoms[..., own].sum(axis=-1, keepdims=True)
        pooled = squares[..., own].sum(axis=-1, keepdims=True) / total
        equal = _equal_spread(variance[..., own], freedoms[..., own]) >= EQUAL_SPREAD_LEVEL
        variance[..., own] = np.where(equal[..., None], pooled, variance[..., own])
        df[..., own] = np.where(equal[..., None], total, freedoms[..., own])
    return Spread(variance, df)


def _equal_spread(variances: Floats, freedoms: Floats) -> Floats:
    """p values of Bartlett's test over the last axis; 1 for a single arm and where nothing varies at all."""
    count = variances.shape[-1]
    if count < 2:
        return np.ones(variances.shape[:-1])
    total = freedoms.sum(axis=-1)
    common = (freedoms * variances).sum(axis=-1) / total
    some = variances.min(axis=-1) > 0
    safe = np.where(variances > 0, variances, 1.0)
    ratios = np.log(np.where(some, common, 1.0))[..., None] - np.log(safe)
    correction = 1 + ((1 / freedoms).sum(axis=-1) - 1 / total) / (3 * (count - 1))
    statistic = np.maximum((freedoms * ratios).sum(axis=-1) / correction, 0)
    tail = special.chdtrc(count - 1, statistic)
    return np.where(some, tail, np.where(variances.max(axis=-1) == 0, 1.0, 0.0))
