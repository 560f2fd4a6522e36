"""What each comparison of a cell comes to, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.head_to_head import CellTest, HeadToHead
from bench.report.table import fixed
from bench.stats import LEVEL, Interval

ALPHA = 1 - LEVEL
FEWEST_TOGETHER = 3
"""From so many methods with one verdict on, a sentence serves all."""
NOT_SHOWN, ACCIDENT, NO_RUN = "not shown", "accident", "no run"


def p_text(p_value: float | None) -> str:
    """A p value with two digits, "<0.001" below that."""
    if p_value is None:
        return "-"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def better(value: float, found: HeadToHead) -> str:
    """The word for a difference: better or worse; higher or lower where a metric has no better."""
    signed = value * (found.metric.direction or 1)
    if found.metric.direction == 0:
        return "higher" if signed > 0 else "lower"
    return "better" if signed > 0 else "worse"


def shown(interval: Interval, found: HeadToHead) -> str:
    """A difference with its unit and interval."""
    ends = (number(end, found, signed=True) for end in (interval.estimate, interval.low, interval.high))
    return "{}{unit} [{}, {}]".format(*ends, unit=found.metric.unit)


def number(value: float, found: HeadToHead, signed: bool = False) -> str:
    """A value in the metric's unit and decimals."""
    return fixed(value * found.metric.scale, found.metric.decimals, signed)


def verdicts(tests: Sequence[CellTest], found: HeadToHead) -> list[str]:
    """A sentence for each of few methods; where more have one verdict, a sentence for all of them."""
    groups: dict[str, list[CellTest]] = {}
    for test in tests:
        groups.setdefault(_kind(test, found), []).append(test)
    said: list[str] = []
    for kind, group in groups.items():
        few = len(group) < (2 if kind == NOT_SHOWN else FEWEST_TOGETHER)
        said += [_verdict(test, found) for test in group] if few or kind == "" else [_together(kind, group, found)]
    return said


def _kind(test: CellTest, found: HeadToHead) -> str:
    """What methods have to have in common to share a sentence; empty for what is said of each alone."""
    estimate = test.estimate
    if estimate is None:
        return NO_RUN if not test.seeds and test.base_seeds else ""
    if test.adjusted is not None and test.adjusted < ALPHA:
        return better(estimate.value, found)
    return ACCIDENT if estimate.p_value < ALPHA else NOT_SHOWN


def _verdict(test: CellTest, found: HeadToHead) -> str:
    who = f"{test.cell.title}: {test.row.name} against {found.base}"
    estimate = test.estimate
    if estimate is None:
        return f"{who}: {_untold(test, found)}"
    interval = shown(estimate.interval(), found)
    alone = f"p {p_text(estimate.p_value)}"
    tests = f"{found.family} tests"
    if test.adjusted is not None and test.adjusted < ALPHA:
        corrected = f", {p_text(test.adjusted)} after correction for {tests}" if found.family > 1 else ""
        return f"{who}: {better(estimate.value, found)}, {interval}, {alone}{corrected}."
    if estimate.p_value < ALPHA:
        return (
            f"{who}: not shown, {interval}: the interval excludes 0 ({alone}), but among {tests} that is no rare "
            f"accident (p {p_text(test.adjusted)} after correction)."
        )
    return (
        f"{who}: no difference shown, {interval}, {alone}; that is no proof of none: only true differences beyond "
        f"{number(estimate.excluded_beyond(), found)}{found.metric.unit} are excluded (two one-sided tests at 5 %)."
    )


def _together(kind: str, tests: Sequence[CellTest], found: HeadToHead) -> str:
    """Several methods of a cell with one verdict; their intervals stand in the table."""
    who = f"{tests[0].cell.title}: "
    if kind == NO_RUN:
        return f"{who}no finished run has {found.metric.name}: {', '.join(test.row.name for test in tests)}."
    known = [(test, test.estimate) for test in tests if test.estimate is not None]
    if kind == NOT_SHOWN:
        excluded = ", ".join(f"{test.row.name} {number(one.excluded_beyond(), found)}" for test, one in known)
        return (
            f"{who}no difference to {found.base} shown for {len(tests)} methods; that is no proof of none: only true "
            f"differences beyond these{found.metric.unit} are excluded (two one-sided tests at 5 %): {excluded}."
        )
    gaps = [f"{test.row.name} {number(one.value, found, signed=True)}{found.metric.unit}" for test, one in known]
    p_values = [test.adjusted or 0.0 for test in tests]
    if kind == ACCIDENT:
        return (
            f"{who}not shown for {len(tests)} methods, though each interval excludes 0: among {found.family} tests "
            f"that is no rare accident (p from {p_text(min(p_values))} after correction): {', '.join(gaps)}."
        )
    return (
        f"{who}{kind} than {found.base} are {', '.join(gaps)}; largest p {p_text(max(p_values))} after correction for "
        f"{found.family} tests."
    )


def _untold(test: CellTest, found: HeadToHead) -> str:
    if not test.seeds or not test.base_seeds:
        lacking = test.row.name if not test.seeds else found.base
        return f"no finished run of {lacking} has {found.metric.name}."
    gap = "" if test.gap is None else f"{number(test.gap, found, signed=True)}{found.metric.unit}, but "
    if min(test.seeds, test.base_seeds) < 2:
        return f"{gap}one seed each tells no difference from chance; run at least 2 seeds."
    return f"{gap}the seeds tell no spread (it is 0, or no two methods share two seeds), so nothing about chance."
