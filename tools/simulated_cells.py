"""Thousands of studies at once through the formulas of bench.stats, for tools/simulate_statistics.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.stats import LEVEL
from bench.stats.homogeneity import EQUAL_SPREAD_LEVEL
from bench.stats.pairing import LARGEST_CORRELATION
from bench.stats.spread import ENOUGH_FREEDOM

Floats = NDArray[np.float64]
ALPHA = 1 - LEVEL


class Differences(NamedTuple):
    """Each method against method 0 in each cell: value, squared error and freedom, (studies, cells, methods - 1).

    common: whether the variance is shared with other cells, (studies, cells, methods - 1).
    """

    value: Floats
    square: Floats
    df: Floats
    common: NDArray[np.bool_]


def draw(
    generator: np.random.Generator, studies: int, spreads: Floats, seeds: int, rho: float, effects: Floats | None = None
) -> Floats:
    """Values (studies, cells, methods, seeds) of seed spread (cells, methods) whose methods correlate by rho.

    effects: true means, broadcast to (studies, cells, methods); 0 where left out.
    """
    cells, methods = spreads.shape
    shared = generator.standard_normal((studies, cells, 1, seeds)) * rho**0.5
    own = generator.standard_normal((studies, cells, methods, seeds)) * (1 - rho) ** 0.5
    values = (shared + own) * spreads[:, :, None]
    return values if effects is None else values + effects[..., None]


def bartlett(variances: Floats, df: int, used: NDArray[np.bool_] | None = None) -> Floats:
    """p values of Bartlett's test over the last axis, all of `df` freedom; only the variances that are `used`."""
    used = np.ones(variances.shape, bool) if used is None else used
    count = used.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        common = np.where(used, variances, 0).sum(-1) / count
        ratio = df * (count * np.log(common) - np.where(used, np.log(variances), 0).sum(-1))
        correction = 1 + (count / df - 1 / (count * df)) / (3 * (count - 1))
        return np.where(count > 1, special.chdtrc(count - 1, np.maximum(ratio / correction, 0)), 1.0)


def differences(values: Floats) -> Differences:
    """The rules of `bench.stats.spread` for complete layouts of one data set."""
    _, cells, methods, seeds = values.shape
    centred = values - values.mean(3, keepdims=True)
    singles = (centred**2).sum(3) / (seeds - 1)
    relative = (singles / singles.mean(2, keepdims=True)).mean(1)
    uneven = (bartlett(relative, cells * (seeds - 1)) < EQUAL_SPREAD_LEVEL) & (cells > 1)
    even = (bartlett(singles, seeds - 1) >= EQUAL_SPREAD_LEVEL) & ~uneven[:, None]
    df = (methods - 1) * (seeds - 1)
    paired = ((centred - centred.mean(2, keepdims=True)) ** 2).sum((2, 3)) / df
    count = even.sum(1)
    together = (count > 1) & (bartlett(paired, df, even) >= EQUAL_SPREAD_LEVEL)
    common = together[:, None] & even & (df < ENOUGH_FREEDOM)
    pooled = np.where(even, paired, 0).sum(1) / np.maximum(count, 1)
    variance = np.where(common, pooled[:, None], paired)[:, :, None]
    freedom = np.where(common, (count * df)[:, None], df)[:, :, None]
    gaps = values[:, :, 1:] - values[:, :, :1]
    own = gaps.var(3, ddof=1)
    agree = (bartlett(own.transpose(0, 2, 1), seeds - 1) >= EQUAL_SPREAD_LEVEL) & uneven[:, None]
    own = np.where(agree[:, None], own.mean(1, keepdims=True), own)
    own_df = np.where(agree[:, None], cells * (seeds - 1), seeds - 1)
    square = np.where(even[:, :, None], 2 * variance, own) / seeds
    shape = (len(values), cells, methods - 1)
    shared = common[:, :, None] | agree[:, None]
    return Differences(
        gaps.mean(3), square, np.broadcast_to(np.where(even[:, :, None], freedom, own_df), shape),
        np.broadcast_to(shared, shape),
    )  # fmt: skip


def mean_effects(found: Differences) -> tuple[Floats, Floats, Floats]:
    """Mean over cells, its squared error and freedom, each (studies, methods - 1): `bench.stats.mean_effect`."""
    parts = found.square / found.value.shape[1] ** 2
    together = np.where(found.common, parts, 0).sum(1)
    shared_df = np.where(found.common, found.df, 1).max(1)
    apart = np.where(found.common, 0, parts**2 / found.df).sum(1)
    total = parts.sum(1)
    return found.value.mean(1), total, np.maximum(1, np.floor(total**2 / (together**2 / shared_df + apart) + 1e-9))


def reach(square: Floats, df: Floats) -> Floats:
    """Half the width of the interval."""
    return special.stdtrit(df, 0.5 + LEVEL / 2) * np.sqrt(square)


def p_values(value: Floats, square: Floats, df: Floats) -> Floats:
    """Two-sided p values."""
    return 2 * special.stdtr(df, -np.abs(value) / np.sqrt(square))


def lone_seeds(generator: np.random.Generator, studies: int, methods: int, seeds: int, base: int, rho: float,
               spread: float) -> tuple[Floats, Floats, int]:  # fmt: skip
    """Difference of method 1 to a base that has more seeds than the methods: value, squared error, freedom.

    One cell; methods have the seeds 0 .. seeds - 1, the base 0 .. base - 1. No true difference.
    """
    values = draw(generator, studies, np.full((1, methods), spread), base, rho)[:, 0]
    entries = [(m, s) for m in range(methods) for s in range(base if m == 0 else seeds)]
    design = np.zeros((len(entries), methods + base))
    for place, (method, seed) in enumerate(entries):
        design[place, method] = design[place, methods + seed] = 1
    flat = np.stack([values[:, m, s] for m, s in entries], 1)
    df = len(entries) - int(np.linalg.matrix_rank(design))
    left = flat - flat @ (design @ np.linalg.pinv(design)).T
    groups = [values[:, m, : base if m == 0 else seeds] for m in range(methods)]
    squares = np.stack([((group - group.mean(1, keepdims=True)) ** 2).sum(1) for group in groups]).sum(0)
    single = squares / (len(entries) - methods)
    paired = (left**2).sum(1) / df if df else single
    correlation = np.clip(1 - paired / single, 0, LARGEST_CORRELATION)
    lone = (1 - correlation**2) * (base - seeds)
    own, common, rest = groups[1].sum(1), groups[0][:, :seeds].sum(1), groups[0][:, seeds:].sum(1)
    first = own - correlation * common
    second = common - correlation * own + (1 - correlation**2) * rest
    across, other = correlation * seeds, seeds + lone
    determinant = seeds * other - across**2
    value = ((other - across) * first - (seeds - across) * second) / determinant
    return value, paired * (1 + correlation) * (seeds + other - 2 * across) / determinant, df or len(entries) - methods
