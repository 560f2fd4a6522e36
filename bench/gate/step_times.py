"""Step times from interleaved sessions: a row's ratio to the reference before and now, and whether it has grown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.records import SpeedSession
from bench.stats import median, median_interval
from bench.stats.summary import sum_of_squares

SMALLEST_SLOWDOWN = 0.07
"""Slowdowns below this share never fail the gate."""
NOISE_FACTOR = 3.0
ALPHA = 0.05

Ratios = Sequence[float]
"""One session: step time relative to the reference's in the same round, one number a round."""


class Slowdown(NamedTuple):
    """quotient: median ratio now over median ratio before, with its interval (None where rounds are too few)."""

    quotient: float
    low: float | None
    high: float | None

    def verdict(self, limit: float) -> str:
        """A regression needs both keys: beyond the limit, and an interval that excludes 1."""
        if self.low is None or self.high is None:
            return "inconclusive"
        if self.quotient > 1 + limit and self.low > 1:
            return "regression"
        return "pass" if self.high < 1 + limit else "inconclusive"


def slowdown(before: Sequence[Ratios], now: Sequence[Ratios], rows: int) -> Slowdown:
    """Compare all rounds now with all rounds before, with an error of at most ALPHA / rows at either end.

    The ends are those of two intervals between order statistics, crossed: new low over old high, and new high over old
    low. Each of the two intervals errs at one end with at most half of ALPHA / rows, so no distribution is assumed.
    """
    old, new = ([ratio for session in sessions for ratio in session] for sessions in (before, now))
    quotient = median(new) / median(old)
    level = 1 - ALPHA / rows
    was, is_now = median_interval(old, level), median_interval(new, level)
    if was is None or is_now is None:
        return Slowdown(quotient, None, None)
    return Slowdown(quotient, is_now.low / was.high, is_now.high / was.low)


def rounds_needed(rows: int) -> int:
    """The fewest rounds for which `slowdown` gives an interval."""
    count = 2
    while median_interval([float(value) for value in range(count)], 1 - ALPHA / rows) is None:
        count += 1
    return count


def repeat_noise(baselines: Sequence[Sequence[Ratios]]) -> float:
    """How far ratios of unchanged code move between sessions: sd of the log of a session's median ratio, pooled over
    rows. Where no row has two sessions, the halves of each session stand for sessions, which shows too little."""
    several = [sessions for sessions in baselines if len(sessions) > 1]
    groups = several or [_halves(sessions[0]) for sessions in baselines if sessions and len(sessions[0]) > 1]
    logs = [[math.log(median(session)) for session in sessions] for sessions in groups]
    freedom = sum(len(values) - 1 for values in logs)
    return math.sqrt(math.fsum(sum_of_squares(values) for values in logs) / freedom) if freedom else 0.0


def twin_noise(sessions: Sequence[SpeedSession]) -> float:
    """How far a method's ratio to itself is from 1: root mean square of the log of its median, over the sessions that
    timed one method twice as if it were two (the A/A pair); 0 where none did."""
    logs: list[float] = []
    for session in sessions:
        for arm, line in session.arms.items():
            if line.get("twin_of") and (ratios := session_ratios(session, arm, str(line["twin_of"]))):
                logs.append(math.log(median(ratios)))
    return math.sqrt(math.fsum(value * value for value in logs) / len(logs)) if logs else 0.0


def limit_of(noise: float) -> float:
    """The slowdown that fails, as a share."""
    return max(SMALLEST_SLOWDOWN, NOISE_FACTOR * noise)


def session_ratios(session: SpeedSession, arm: str, reference: str) -> list[float]:
    """The ratios of one session, by round, where both arms have been timed."""
    own, base = (_seconds(session, name) for name in (arm, reference))
    return [own[place] / base[place] for place in sorted(own.keys() & base.keys())]


def _seconds(session: SpeedSession, arm: str) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for sample in session.samples:
        seconds: Any = sample.get("seconds")
        place = sample.get("round")
        if sample.get("arm") == arm and isinstance(seconds, int | float) and seconds > 0 and isinstance(place, int):
            found.setdefault(place, []).append(float(seconds))
    return {place: median(values) for place, values in found.items()}


def _halves(ratios: Ratios) -> list[Ratios]:
    middle = len(ratios) // 2
    return [ratios[:middle], ratios[middle:]]
