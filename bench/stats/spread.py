"""Which seed variance the differences of each cell use: that of its data set, of the cell, or a method's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from bench.stats.comparison import equal_spread_probability
from bench.stats.differences import BySeed, paired_variance, seed_variance
from bench.stats.estimate import Estimate
from bench.stats.homogeneity import EQUAL_SPREAD_LEVEL, equal_variance_probability
from bench.stats.pairing import weighted_difference
from bench.stats.summary import mean, sd, sum_of_squares
from bench.stats.variance import Variance, pooled_variance

Pooled = Literal["data set", "cell", "method"]
ENOUGH_FREEDOM = 8
"""A cell with so many degrees of freedom gains little from other cells, and loses if their spreads differ unnoticed."""
NO_SPREAD = 1e-24
"""A variance below it is rounding: the seed changed nothing, which tells nothing about chance."""

Cells = Mapping[str, Mapping[str, BySeed]]
"""By cell and method; a method has the same name in all cells."""


class Shared(NamedTuple):
    """A variance and the name that all who share it give it."""

    variance: Variance
    source: str


@dataclass(frozen=True)
class Spread:
    """What the differences of one cell take for the seed variance.

    pooled: over what. paired: the variance left within seeds, None where none can be told. single: the variance of
    single values. source: the name that cells with one common variance share. equal: p value of Bartlett's test that
    methods have one spread, the one that decided; None where fewer than two methods have two seeds. own: where methods
    keep their own, the variance of their paired differences by method.
    """

    pooled: Pooled
    paired: Variance | None
    single: Variance | None
    source: str
    equal: float | None = None
    own: Mapping[str, Shared] = field(default_factory=dict[str, Shared])

    @property
    def correlation(self) -> float | None:
        """How far methods move together over seeds: 1 - paired / single. None where it cannot be told."""
        if self.paired is None or self.single is None or self.single.value <= NO_SPREAD:
            return None
        return 1 - self.paired.value / self.single.value


def spreads(cells: Cells, reference: str) -> dict[str, Spread]:
    """The spread of each cell, for the cells of one data set in one metric.

    Tests of Bartlett at 5 % decide. If methods scatter unequally over all cells together, each keeps its own variance
    of paired differences, that of all cells where it agrees between them. Else a cell whose methods scatter unequally
    lets each keep its own of that cell. Any other cell takes the variance of its methods if that has 8 degrees of
    freedom, or the cells disagree; with fewer it shares one variance with all those other cells.
    """
    paired = {name: _told(paired_variance(methods)) for name, methods in cells.items()}
    single = {name: _told(seed_variance(methods)) for name, methods in cells.items()}
    overall = _equal_over_cells(cells, single)
    if overall < EQUAL_SPREAD_LEVEL:
        own = _own_over_cells(cells, reference)
        return {name: Spread("method", paired[name], single[name], name, overall, own[name]) for name in cells}
    equal = {name: equal_spread_probability(methods) for name, methods in cells.items()}
    even = [name for name in cells if equal[name] >= EQUAL_SPREAD_LEVEL]
    known = [variance for name in even if (variance := paired[name]) is not None]
    together = len(even) > 1 and len(known) > 0 and equal_variance_probability(known) >= EQUAL_SPREAD_LEVEL
    common = Spread(
        "data set", pooled_variance(known), pooled_variance([single[name] for name in even]), "+".join(even)
    )
    found: dict[str, Spread] = {}
    for name, methods in cells.items():
        p_value = equal[name] if sum(len(values) > 1 for values in methods.values()) > 1 else None
        if name not in even:
            own = {method: Shared(one, f"{name}/{method}") for method, one in _own(methods, reference).items()}
            found[name] = Spread("method", paired[name], single[name], name, p_value, own)
        else:
            enough = (variance := paired[name]) is not None and variance.df >= ENOUGH_FREEDOM
            alone = Spread("cell", paired[name], single[name], name)
            found[name] = replace(common if together and not enough else alone, equal=p_value)
    return found


def cell_difference(method: str, methods: Mapping[str, BySeed], reference: str, spread: Spread) -> Estimate | None:
    """One method of a cell minus the reference.

    None where either has no value, or no seed variance can be told. Where no freedom is left for pairing (no two
    methods share two seeds) the variance of single values serves, unpaired, which errs on the wide side.
    """
    values, base = methods.get(method, {}), methods.get(reference, {})
    common = sorted(values.keys() & base.keys())
    if method in spread.own and common:
        difference = mean([values[seed] - base[seed] for seed in common])
        return Estimate(difference, 1 / len(common), *spread.own[method], len(common))
    if spread.paired is not None:
        return weighted_difference(values, base, spread.paired, spread.correlation, spread.source)
    if spread.single is not None:
        return weighted_difference(values, base, spread.single, None, spread.source)
    return None


def _equal_over_cells(cells: Cells, single: Mapping[str, Variance | None]) -> float:
    """p value of Bartlett's test over methods, each method's variances relative to their cell's and pooled over cells.

    1 for a lone cell, which has its own test.
    """
    if len(cells) < 2:
        return 1.0
    relative: dict[str, list[Variance]] = {}
    for name, methods in cells.items():
        common = single[name]
        for method, values in methods.items():
            if common is not None and len(values) > 1:
                df = len(values) - 1
                value = sum_of_squares(list(values.values())) / df / common.value
                relative.setdefault(method, []).append(Variance(value, df))
    pooled = [one for found in relative.values() if (one := pooled_variance(found)) is not None]
    return equal_variance_probability(pooled)


def _own_over_cells(cells: Cells, reference: str) -> dict[str, dict[str, Shared]]:
    """By cell and method the variance of paired differences, pooled over the cells where they agree."""
    apart = {name: _own(methods, reference) for name, methods in cells.items()}
    found: dict[str, dict[str, Shared]] = {name: {} for name in cells}
    for method in dict.fromkeys(method for own in apart.values() for method in own):
        variances = {name: own[method] for name, own in apart.items() if method in own}
        together = pooled_variance(list(variances.values()))
        agree = equal_variance_probability(list(variances.values())) >= EQUAL_SPREAD_LEVEL
        for name, methods in cells.items():
            if agree and together is not None and method in methods:
                found[name][method] = Shared(together, f"{'+'.join(variances)}/{method}")
            elif name in variances:
                found[name][method] = Shared(variances[name], f"{name}/{method}")
    return found


def _own(methods: Mapping[str, BySeed], reference: str) -> dict[str, Variance]:
    """Variances of paired differences; none where all agree: that is chance, not certainty."""
    base = methods.get(reference, {})
    found: dict[str, Variance] = {}
    for method, values in methods.items():
        gaps = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
        if method == reference or len(gaps) < 2 or math.isclose(min(gaps), max(gaps), rel_tol=1e-9, abs_tol=1e-12):
            continue
        found[method] = Variance(sd(gaps) ** 2, len(gaps) - 1)
    return found


def _told(variance: Variance | None) -> Variance | None:
    return variance if variance is not None and variance.value > NO_SPREAD else None
