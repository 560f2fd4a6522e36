"""What a baseline's gate can show: its seed spread, and the drop that it finds four times out of five."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.gate.baseline import Entry
from bench.gate.decision import FEWEST_OF_ITS_OWN, RULE, Rule
from bench.gate.spread import own_spread, seed_spread
from bench.stats.power import POWER
from bench.stats.special import noncentral_t_cdf, t_quantile

COMFORTABLE = 2.5
"""A margin of this many standard errors at the last look passes unchanged code in most cases."""


class Power(NamedTuple):
    """One row of a baseline. spread: standard deviation over seeds, points. error: standard error of the difference
    after the last look. drop: smallest true drop of this row alone that is shown with probability 0.8 by then."""

    entry: Entry
    spread: float
    error: float
    drop: float


def baseline_power(entries: Sequence[Entry], rule: Rule = RULE) -> list[Power]:
    """For each entry; the drop counts the correction for all rows and their mean, but not the earlier looks.

    Where a row's own spread has a say too, the drop is the larger of the two that both tests need.
    """
    if not entries:
        return []
    seeds = sorted({run.seed for entry in entries for run in entry.runs})
    values = np.full((len(seeds), len(entries)), np.nan)
    for place, entry in enumerate(entries):
        for run in entry.runs:
            values[seeds.index(run.seed), place] = 100 * run.value
    kinds = [(str(entry.spec["data"].get("digest")), entry.measure) for entry in entries]
    variance, df = seed_spread(values, [kinds.index(kind) for kind in kinds])
    own = own_spread(values)
    tests = len(entries) + (len(entries) > 1)
    made: list[Power] = []
    for place, entry in enumerate(entries):
        image = 100 / entry.test_images
        spread = max(math.sqrt(variance[place]), image)
        reach = math.sqrt(1 / rule.looks[-1] + 1 / len(entry.runs))
        drop = spread * reach * _shift(int(df[place]), rule.look_alpha / tests)
        if tests > 1 and len(entry.runs) >= FEWEST_OF_ITS_OWN:
            alone = max(math.sqrt(own.variance[place]), image)
            drop = max(drop, alone * reach * _shift(int(own.df[place]), rule.look_alpha / 2))
        made.append(Power(entry, spread, spread * reach, drop))
    return made


def _shift(df: int, alpha: float) -> float:
    """Standard errors by which a mean must shift to be found with probability POWER by a one-sided test."""
    critical = t_quantile(df, 1 - alpha)
    low, high = 0.0, critical + 6
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - noncentral_t_cdf(df, middle, critical) < POWER else (low, middle)
    return high
