"""A variance that was estimated, with what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Variance(NamedTuple):
    """A pooled variance of single values and its degrees of freedom."""

    value: float
    df: int


def pooled_variance(variances: Sequence[Variance | None]) -> Variance | None:
    """Variances of independent groups as one, weighted by their degrees of freedom; None where all are None."""
    known = [variance for variance in variances if variance is not None]
    df = sum(variance.df for variance in known)
    return Variance(math.fsum(variance.df * variance.value for variance in known) / df, df) if df else None
