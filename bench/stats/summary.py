"""Location and spread of a handful of numbers, exactly summed so that every machine gives the same digits."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean. Raises ValueError for no values."""
    _require(values, 1, "a mean")
    return math.fsum(values) / len(values)


def sum_of_squares(values: Sequence[float]) -> float:
    """Sum of squared deviations from the mean."""
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values)


def sd(values: Sequence[float]) -> float:
    """Standard deviation of a sample (divisor n - 1). Raises ValueError for fewer than 2 values."""
    _require(values, 2, "a standard deviation")
    return math.sqrt(sum_of_squares(values) / (len(values) - 1))


def quantile(values: Sequence[float], share: float) -> float:
    """Quantile by linear interpolation between order statistics (definition 7 of Hyndman and Fan 1996)."""
    _require(values, 1, "a quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    return quantile(values, 0.5)


def interquartile_range(values: Sequence[float]) -> float:
    """Distance between the quartiles."""
    return quantile(values, 0.75) - quantile(values, 0.25)


def _require(values: Sequence[float], count: int, what: str) -> None:
    if len(values) < count:
        raise ValueError(f"{what} needs at least {count} value(s), got {len(values)}")
