"""The ratio of two methods' step times with its interval, from rounds of one process or over fresh processes."""

from __future__ import annotations

import math
from typing import NamedTuple

from bench.report.throughput_sessions import Timing
from bench.stats import mean, mean_interval, median, median_interval

FEWEST_PROCESSES = 5
"""From so many sessions on, each a fresh process, the interval is over processes."""


class Ratio(NamedTuple):
    """low, high: ends of the 95 % interval, None where there are too few rounds. over: what the interval is over."""

    estimate: float
    low: float | None
    high: float | None
    over: str

    @property
    def reach(self) -> float | None:
        """How far the interval goes from 1: for an A/A pair the noise floor."""
        return None if self.low is None or self.high is None else max(1 - self.low, self.high - 1, 0.0)


def ratio_of(own: Timing, base: Timing) -> Ratio | None:
    """Step time of one method relative to another's in the same rounds; None without a common round.

    Of fewer than FEWEST_PROCESSES sessions the median over all rounds, its interval between order statistics: it tells
    what those processes did, not what the next one will do. Of more the geometric mean of each process's median, with
    the t interval of the logarithms over processes.
    """
    by_session: dict[str, list[float]] = {}
    for place in own.rounds.keys() & base.rounds.keys():
        by_session.setdefault(place[0], []).append(own.rounds[place] / base.rounds[place])
    if len(by_session) >= FEWEST_PROCESSES:
        logs = [math.log(median(ratios)) for _, ratios in sorted(by_session.items())]
        spread = mean_interval(logs)
        low, high = (math.exp(spread.low), math.exp(spread.high)) if spread else (None, None)
        return Ratio(math.exp(mean(logs)), low, high, "processes")
    ratios = [ratio for found in by_session.values() for ratio in found]
    if not ratios:
        return None
    interval = median_interval(ratios)
    ends = (interval.low, interval.high) if interval else (None, None)
    return Ratio(median(ratios), *ends, "rounds")


def noise_floor(pair: tuple[Timing, Timing] | None) -> float | None:
    """How far from 1 the ratio of a method to itself may be by chance, from an A/A pair; None where none was timed."""
    found = ratio_of(pair[1], pair[0]) if pair else None
    return found.reach if found else None
