"""Whether several variances may be taken for one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.stats.special import chi_square_tail
from bench.stats.variance import Variance

EQUAL_SPREAD_LEVEL = 0.05


def equal_variance_probability(variances: Sequence[Variance]) -> float:
    """p value of Bartlett's test (1937) that independent variances estimate one; 1 where it cannot be tested.

    Variances of exactly 0 differ from all others, and agree among themselves.
    """
    if len(variances) < 2:
        return 1.0
    if min(variance.value for variance in variances) == 0:
        return 1.0 if max(variance.value for variance in variances) == 0 else 0.0
    total = sum(variance.df for variance in variances)
    common = math.fsum(variance.df * variance.value for variance in variances) / total
    ratios = [variance.df * math.log(common / variance.value) for variance in variances]
    correction = 1 + (math.fsum(1 / variance.df for variance in variances) - 1 / total) / (3 * (len(variances) - 1))
    return chi_square_tail(len(variances) - 1, max(0.0, math.fsum(ratios) / correction))
