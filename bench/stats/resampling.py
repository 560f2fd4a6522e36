"""Summaries over cells that few cells cannot upset, with intervals from resampling cells and then seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.stats.differences import BySeed
from bench.stats.interval import LEVEL, Interval
from bench.stats.summary import mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

FEWEST_CELLS = 4
"""With fewer the interquartile mean cuts nothing off."""
FEWEST_RESAMPLED = 8
"""With fewer the bootstrap's intervals are too narrow: with 4 they hold 0.87 to 0.89 of the time."""
RESAMPLES = 2000
SEED = 20260102
"""Seed of the resampling unless another is asked for."""

Pairs = Sequence[tuple[float, float]]
"""One cell: (method, base) under each seed that both have."""


@dataclass(frozen=True)
class Resampled:
    """Percentile intervals of the summaries. seed, resamples: of the bootstrap."""

    interquartile_mean: Interval
    improvement: Interval
    profile: tuple[Interval, ...]
    seed: int
    resamples: int


@dataclass(frozen=True)
class Summaries:
    """One method against the base over cells.

    interquartile_mean: of the cells' mean differences. improvement: probability that a run of the method beats a run
    of the base. profile: for each threshold the share of seeds, cells weighted equally, whose difference exceeds it.
    resampled: their intervals, None for fewer than 8 cells, where they would hold too seldom.
    """

    cells: int
    interquartile_mean: float
    improvement: float
    thresholds: tuple[float, ...]
    profile: tuple[float, ...]
    resampled: Resampled | None


def pairs_of(method: BySeed, base: BySeed) -> list[tuple[float, float]]:
    """The values under the seeds that both have, by seed."""
    return [(method[seed], base[seed]) for seed in sorted(method.keys() & base.keys())]


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of what is left when a quarter of the values, rounded down, is cut off at either end."""
    cut = len(values) // 4
    return mean(sorted(values)[cut : len(values) - cut])


def improvement_probability(cells: Sequence[Pairs]) -> float:
    """Share of (method run, base run) pairs in which the method is higher, ties counting half; mean over cells."""
    return mean([_beats([own for own, _ in pairs], [base for _, base in pairs]) for pairs in cells])


def exceeding_share(cells: Sequence[Pairs], threshold: float) -> float:
    """Share of seeds whose difference is above the threshold, mean over cells."""
    return mean([mean([float(own - base > threshold) for own, base in pairs]) for pairs in cells])


def summaries(
    cells: Sequence[Pairs], thresholds: Sequence[float], seed: int = SEED, resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Summaries:  # fmt: skip
    """All summaries, from 8 cells on with percentile intervals: cells are drawn with replacement, then each's pairs.

    Higher is better. The intervals are about further cells like these; docs/statistics.md tells how often they hold.
    ValueError for fewer than 4 cells or a cell without a pair.
    """
    if len(cells) < FEWEST_CELLS or not all(cells):
        raise ValueError(f"needs at least {FEWEST_CELLS} cells with a common seed each")
    middle = interquartile_mean([mean([own - base for own, base in pairs]) for pairs in cells])
    better = improvement_probability(cells)
    profile = tuple(exceeding_share(cells, threshold) for threshold in thresholds)
    resampled: Resampled | None = None
    if len(cells) >= FEWEST_RESAMPLED:
        drawn = _resampled(cells, thresholds, seed, resamples)
        resampled = Resampled(
            _percentiles(middle, drawn[0], len(cells), level),
            _percentiles(better, drawn[1], len(cells), level),
            tuple(_percentiles(share, drawn[2][:, at], len(cells), level) for at, share in enumerate(profile)),
            seed,
            resamples,
        )
    return Summaries(len(cells), middle, better, tuple(thresholds), profile, resampled)


def _percentiles(estimate: float, drawn: Floats, cells: int, level: float) -> Interval:
    import numpy as np

    low, high = np.quantile(drawn, (0.5 - level / 2, 0.5 + level / 2)).tolist()
    return Interval(estimate, low, high, 0, cells)


def resampled_places(sizes: Sequence[int], seed: int, resamples: int) -> tuple[Integers, list[Integers]]:
    """What is drawn for cells of these many pairs.

    The cell in each place of a resample, (resamples, cells), and for each cell the pairs drawn in every place that it
    holds, (places, pairs), in the order of the places. The same for the same seed.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, len(sizes), (resamples, len(sizes)))
    return chosen, [generator.integers(0, size, (int((chosen == cell).sum()), size)) for cell, size in enumerate(sizes)]


def _resampled(
    cells: Sequence[Pairs], thresholds: Sequence[float], seed: int, resamples: int
) -> tuple[Floats, Floats, Floats]:
    """Per resample: interquartile mean (R,), probability of improvement (R,), shares above thresholds (R, T)."""
    import numpy as np

    count = len(cells)
    chosen, places = resampled_places([len(pairs) for pairs in cells], seed, resamples)
    means, beaten = np.empty((resamples, count)), np.empty((resamples, count))
    exceeded = np.empty((resamples, count, len(thresholds)))
    for cell, pairs in enumerate(cells):
        where = chosen == cell
        drawn = np.array(pairs)[places[cell]]
        differences = drawn[:, :, 0] - drawn[:, :, 1]
        means[where] = differences.mean(axis=1)
        exceeded[where] = (differences[:, :, None] > np.array(thresholds)).mean(axis=1)
        own, base = drawn[:, :, None, 0], drawn[:, None, :, 1]
        beaten[where] = ((own > base) + 0.5 * (own == base)).mean(axis=(1, 2))
    cut = count // 4
    middle = np.sort(means, axis=1)[:, cut : count - cut].mean(axis=1)
    return middle, beaten.mean(axis=1), exceeded.mean(axis=1)


def profile_thresholds(cells: Sequence[Pairs], count: int = 41) -> list[float]:
    """Evenly spaced thresholds, 0 among them, from the smallest to the largest difference of any seed."""
    differences = [own - base for pairs in cells for own, base in pairs]
    reach = max(max(map(abs, differences)), math.ulp(1.0))
    return [reach * (2 * place / (count - 1) - 1) for place in range(count)]


def _beats(own: Sequence[float], base: Sequence[float]) -> float:
    return mean([float(one > other) + 0.5 * (one == other) for one in own for other in base])
