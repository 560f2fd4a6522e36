"""Gains under a weak attack that a strong one takes away, said in words."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.attacks import LEGACY, NORMS, STRONGEST, attack_series, strength
from bench.report.measurements import by_seed
from bench.report.readings import Readings, Series
from bench.report.rows import Differences, differences
from bench.report.study import Cell, Row
from bench.report.table import fixed
from bench.stats import mean

MARGIN = 0.5
"""Points: a smaller gain is none."""
FLOOR = 0.01
"""Where the strongest attack leaves the reference less accuracy than this, all networks are at 0 alike."""


@dataclass(frozen=True)
class _Contrast:
    """One strength at which both a weak and the strongest attack were measured; gains in points by arm."""

    attack: str
    series: Series
    weak: Differences
    strongest: str
    strong: Differences


def masking_notes(cell: Cell, readings: Readings) -> list[str]:
    """A line for each method that FGSM or PGD puts above the reference while the strongest attack does not.

    It does not where it shows no gain, or less than a quarter of the weak attack's. A gain is a difference of more
    than half a point whose interval, where there is one, lies above 0. The strongest attack of the same norm and size
    is AutoAttack where it was run, else the worst case of APGD. Of several sizes the one with the largest gain is
    told, if possible one at which the strongest attack leaves the reference any accuracy.
    """
    if cell.base is None:
        return []
    notes: list[str] = []
    for contrasts in _contrasts(cell, readings):
        for row in cell.rows:
            lost = [one for one in contrasts if _gains(one.weak, row) and _shrinks(one, row)]
            known = [one for one in lost if one.strong.gap(row) is not None]
            if row is not cell.base and known:
                telling = [one for one in known if _level(one.strong, cell.base) > FLOOR] or known
                largest = max(telling, key=lambda one: one.weak.gap(row) or 0.0)
                notes.append(f"{cell.title}: {_sentence(largest, row, cell.base)}")
    return notes


def _contrasts(cell: Cell, readings: Readings) -> list[list[_Contrast]]:
    """All pairs of a weak attack and the strongest, by weak attack."""
    weak: dict[str, list[tuple[str, Series]]] = {}
    for attack in LEGACY:
        for norm in NORMS:
            weak[f"{attack} {norm}"] = [(f"{attack}", one) for one in attack_series(readings, attack, norm)]
    for one in filter(readings.measured, readings.series("fgsm_top1", "eps_255")):
        detail = (("attack", "fgsm"), ("eps", one.of("eps_255")), ("norm", "linf"))
        if not any(other.detail == detail for _, other in weak["fgsm linf"]):
            weak["fgsm linf"].append(("fgsm", one))
    found: list[list[_Contrast]] = []
    for pairs in weak.values():
        made: list[_Contrast] = []
        for attack, one in pairs:
            norm, size = one.of("norm") or "linf", one.of("eps") if "eps" in one.keys else one.of("eps_255")
            strong = [
                (name, other)
                for name in STRONGEST
                for other in attack_series(readings, name, str(norm))
                if other.of("eps") == size
            ]
            if strong:
                name, other = strong[0]
                made.append(
                    _Contrast(attack, one, _compared(cell, readings, one), name, _compared(cell, readings, other))
                )
        if made:
            found.append(made)
    return found


def _compared(cell: Cell, readings: Readings, series: Series) -> Differences:
    measured = {row.arm: by_seed(row.ok, lambda run: readings.value(run, series)) for row in cell.rows}
    return differences(cell, measured)


def _gains(found: Differences, row: Row) -> bool:
    gap, interval = found.gap(row), found.intervals.get(row.arm)
    return gap is not None and gap * 100 > MARGIN and (interval is None or interval.low > 0)


def _level(found: Differences, row: Row) -> float:
    values = list(found.measured[row.arm].values())
    return mean(values) if values else 0.0


def _shrinks(one: _Contrast, row: Row) -> bool:
    """Whether the strongest attack shows no gain, or less than a quarter of it."""
    weak, strong = one.weak.gap(row) or 0.0, one.strong.gap(row) or 0.0
    return not _gains(one.strong, row) or strong < weak / 4


def _sentence(one: _Contrast, row: Row, base: Row) -> str:
    weak, strong = (found.gap(row) or 0.0 for found in (one.weak, one.strong))
    size = strength(one.series) if "eps" in one.series.keys else f"{one.series.text('eps_255')}/255"
    told = f"{one.attack} at {size} shows {_points(weak)} points for {row.name} over {base.name}"
    left = f"{_level(one.strong, base) * 100:.1f} % of {base.name}'s images hold"
    if strong * 100 <= MARGIN:
        return (
            f"{told}; the strongest attack ({one.strongest}, {left}) shows {_points(strong)}: gradient masking, "
            "not robustness."
        )
    return f"{told}; the strongest attack ({one.strongest}, {left}) leaves {_points(strong)} of it."


def _points(gain: float) -> str:
    return fixed(gain * 100, 1, signed=True)
