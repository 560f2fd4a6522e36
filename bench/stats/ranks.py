"""Ranks of methods over data sets (Demsar 2006)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.stats.interval import LEVEL
from bench.stats.special import chi_square_tail
from bench.stats.summary import mean

FEWEST_DATA_SETS = 8
"""With fewer independent data sets the chi-square and range distributions say little about ranks."""
_SAME = 1e-9
"""Values whose relative difference is below it are ties."""

Scores = Sequence[Mapping[str, float]]
"""For each data set the score of every method, higher is better; all data sets have the same methods."""


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Rank 1 for the highest score; tied methods share the mean of their ranks."""
    ordered = sorted(scores, key=lambda name: -scores[name])
    found: dict[str, float] = {}
    start = 0
    while start < len(ordered):
        end = start + 1
        while end < len(ordered) and math.isclose(scores[ordered[end]], scores[ordered[start]], rel_tol=_SAME):
            end += 1
        for name in ordered[start:end]:
            found[name] = (start + 1 + end) / 2
        start = end
    return {name: found[name] for name in scores}


def mean_ranks(scores: Scores) -> dict[str, float]:
    """Each method's mean rank over the data sets."""
    ranked = [ranks(one) for one in scores]
    return {name: mean([one[name] for one in ranked]) for name in scores[0]}


def friedman_probability(scores: Scores) -> float:
    """p value of Friedman's test (1937), corrected for ties, that all methods have one distribution of ranks."""
    ranked = [ranks(one) for one in scores]
    sets, methods = len(scores), len(scores[0])
    squares = math.fsum(sum(one[name] for one in ranked) ** 2 for name in scores[0])
    ties = sum(count**3 - count for one in ranked for count in _tied(list(one.values())))
    correction = 1 - ties / (sets * methods * (methods**2 - 1))
    if correction <= 0:
        return 1.0
    statistic = (12 * squares / (sets * methods * (methods + 1)) - 3 * sets * (methods + 1)) / correction
    return chi_square_tail(methods - 1, max(0.0, statistic))


def critical_difference(methods: int, data_sets: int, level: float = LEVEL) -> float:
    """Nemenyi's (1963) smallest difference of two mean ranks that is significant, all pairs being compared.

    q * sqrt(methods (methods + 1) / (6 data_sets)), q the studentized range's quantile (infinite freedom) over sqrt 2.
    """
    stats: Any = importlib.import_module("scipy.stats")
    quantile = float(stats.studentized_range.ppf(level, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * data_sets))


def indistinct_groups(mean_rank: Mapping[str, float], difference: float) -> list[list[str]]:
    """The longest runs of methods, by rank, whose first and last differ by less than the critical difference.

    Lone methods are no group; a group within another is left out. These are the bars of the diagram.
    """
    ordered = sorted(mean_rank, key=lambda name: mean_rank[name])
    groups: list[list[str]] = []
    furthest = 0
    for start, name in enumerate(ordered):
        end = start
        while end + 1 < len(ordered) and mean_rank[ordered[end + 1]] - mean_rank[name] < difference:
            end += 1
        if end > start and end > furthest:
            groups.append(ordered[start : end + 1])
            furthest = end
    return groups


def _tied(values: list[float]) -> list[int]:
    return [values.count(value) for value in set(values)]
