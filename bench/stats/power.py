"""What a number of seeds can show."""

from __future__ import annotations

import math

from bench.stats.interval import LEVEL
from bench.stats.special import noncentral_t_cdf, t_quantile
from bench.stats.variance import Variance

POWER = 0.8


def detectable_difference(variance: Variance, pairs: int, power: float = POWER, level: float = LEVEL) -> float:
    """Smallest true difference of two methods whose interval excludes 0 with probability `power`.

    The difference of means over `pairs` seeds has the standard error se = sqrt(2 * variance / pairs); d / se shifts
    Student's t to the noncentral t with the variance's df, of which both tails beyond the two-sided `level` count.
    """
    error = math.sqrt(2 * variance.value / pairs)
    critical = t_quantile(variance.df, 0.5 + level / 2)

    def found(shift: float) -> float:
        upper = 1 - noncentral_t_cdf(variance.df, shift, critical)
        return upper + noncentral_t_cdf(variance.df, shift, -critical)

    low, high = 0.0, 2 * critical + 4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return high * error
