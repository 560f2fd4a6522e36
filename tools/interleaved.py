"""Side-by-side timing for the benchmarks: candidates in turns, medians, and intervals of ratios within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.stats import median, median_interval

Row = dict[str, object]


def seconds_in_turns(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each candidate says it took, once a round, the order rotated by round."""
    names = list(candidates)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(candidates[name]())
    return found


def ratio_row(what: str, case: str, baseline: str, own: list[float], base: list[float], target: str = "") -> Row:
    """A benchmark's row: the median of the ratios own / base within a round, with the interval between order
    statistics (None below 6 rounds), and the median seconds of `own`."""
    ratios = [mine / other for mine, other in zip(own, base, strict=True)]
    interval = median_interval(ratios)
    return {
        "what": what,
        "case": case,
        "baseline": baseline,
        "ratio": median(ratios),
        "ratio_low": interval.low if interval else None,
        "ratio_high": interval.high if interval else None,
        "seconds": median(own),
        "target": target,
    }
