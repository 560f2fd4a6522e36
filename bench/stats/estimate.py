"""A difference with the variance behind it: interval, p value and what it excludes all follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.stats.interval import LEVEL, Interval, t_interval
from bench.stats.special import t_tails
from bench.stats.variance import Variance


@dataclass(frozen=True)
class Estimate:
    """A value whose squared standard error is factor * variance.value.

    source: the name of the variance; estimates with one source share it, others have independent ones. n: how many
    values of the method or pairs it rests on.
    """

    value: float
    factor: float
    variance: Variance
    source: str
    n: int

    @property
    def error(self) -> float:
        """Standard error."""
        return math.sqrt(self.factor * self.variance.value)

    @property
    def p_value(self) -> float:
        """Two-sided p value of Student's t test that the true value is 0."""
        return t_tails(self.variance.df, self.value / self.error)

    def interval(self, level: float = LEVEL) -> Interval:
        """Two-sided t interval."""
        return t_interval(self.value, self.error, self.variance.df, self.n, level)

    def excluded_beyond(self, level: float = LEVEL) -> float:
        """The smallest margin m for which two one-sided tests at 1 - level show |true value| < m (Schuirmann 1987).

        It is the far end of the two-sided interval with twice the error probability, so 90 % for the level 95 %.
        """
        wider = self.interval(2 * level - 1)
        return max(abs(wider.low), abs(wider.high))
