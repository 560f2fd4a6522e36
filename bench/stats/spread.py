"""Which seed variance the differences of each cell use: that of its data set, of the cell, or a method's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench.stats.comparison import equal_spread_probability
from bench.stats.differences import BySeed, paired_variance, seed_variance
from bench.stats.estimate import Estimate
from bench.stats.homogeneity import EQUAL_SPREAD_LEVEL, equal_variance_probability
from bench.stats.pairing import weighted_difference
from bench.stats.summary import mean, sd
from bench.stats.variance import Variance, pooled_variance

Pooled = Literal["data set", "cell", "method"]
NO_SPREAD = 1e-24
"""A variance below it is rounding: the seed changed nothing, which tells nothing about chance."""


@dataclass(frozen=True)
class Spread:
    """What the differences of one cell take for the seed variance.

    pooled: over what. paired: the variance left within seeds, None where none can be told. single: the variance of
    single values. source: the name that cells with one common variance share.
    """

    pooled: Pooled
    paired: Variance | None
    single: Variance | None
    source: str

    @property
    def correlation(self) -> float | None:
        """How far methods move together over seeds: 1 - paired / single. None where it cannot be told."""
        if self.paired is None or self.single is None or self.single.value <= NO_SPREAD:
            return None
        return 1 - self.paired.value / self.single.value


def spreads(cells: Mapping[str, Mapping[str, BySeed]]) -> dict[str, Spread]:
    """The spread of each cell, for the cells of one data set in one metric.

    Two tests of Bartlett at 5 % decide. A cell whose methods scatter unequally lets each method keep its own. Of the
    other cells, one variance serves all if theirs agree, else each keeps that of its methods.
    """
    paired = {name: _told(paired_variance(methods)) for name, methods in cells.items()}
    single = {name: _told(seed_variance(methods)) for name, methods in cells.items()}
    even = [name for name, methods in cells.items() if equal_spread_probability(methods) >= EQUAL_SPREAD_LEVEL]
    known = [variance for name in even if (variance := paired[name]) is not None]
    together = len(even) > 1 and len(known) > 0 and equal_variance_probability(known) >= EQUAL_SPREAD_LEVEL
    source = "+".join(even)
    common = Spread("data set", pooled_variance(known), pooled_variance([single[name] for name in even]), source)
    found: dict[str, Spread] = {}
    for name in cells:
        if together and name in even:
            found[name] = common
        else:
            found[name] = Spread("cell" if name in even else "method", paired[name], single[name], name)
    return found


def cell_difference(method: str, methods: Mapping[str, BySeed], reference: str, spread: Spread) -> Estimate | None:
    """One method of a cell minus the reference.

    None where either has no value, or no seed variance can be told. Without any freedom for pairing (no two methods
    share two seeds) the variance of single values stands in, unpaired.
    """
    values, base = methods.get(method, {}), methods.get(reference, {})
    if spread.pooled == "method" and (own := _own_difference(values, base, f"{spread.source}/{method}")):
        return own
    if spread.paired is not None:
        return weighted_difference(values, base, spread.paired, spread.correlation, spread.source)
    if spread.single is not None and not values.keys() & base.keys():
        return weighted_difference(values, base, spread.single, None, spread.source)
    return None


def _own_difference(values: BySeed, base: BySeed, source: str) -> Estimate | None:
    """From the paired differences alone; None also where all agree: that is chance, not certainty."""
    differences = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
    if len(differences) < 2 or math.isclose(min(differences), max(differences), rel_tol=1e-9, abs_tol=1e-12):
        return None
    count = len(differences)
    return Estimate(mean(differences), 1 / count, Variance(sd(differences) ** 2, count - 1), source, count)


def _told(variance: Variance | None) -> Variance | None:
    return variance if variance is not None and variance.value > NO_SPREAD else None
