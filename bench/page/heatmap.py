"""Accuracy under each corruption as a coloured grid: the reference in %, the others in points above or below it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.page.part import row_key
from bench.report import Tables
from bench.report.rows import IS_BASE
from bench.report.table import Record, fixed

_LEAST_REACH = 1.0
"""Points that give the full colour at least, so that noise does not look like a finding."""


@dataclass(frozen=True)
class Square:
    """column: its name in the CSV. text: what is written. side: "better", "worse" or "". level: colour in [0, 1]."""

    column: str
    text: str
    side: str
    level: float


@dataclass(frozen=True)
class HeatLine:
    """One method's squares."""

    key: str
    method: str
    base: bool
    squares: list[Square]


@dataclass(frozen=True)
class HeatMap:
    """corruptions: names in order. extra: how many of the last are in no mean. reach: points of the full colour."""

    evaluator: str
    corruptions: list[str]
    extra: int
    compared: bool
    reach: float
    lines: list[HeatLine]


def heat_maps(place: int, tables: Tables, cell: str) -> list[HeatMap]:
    """One heat map for each evaluator of corruptions in this cell."""
    severities, corruptions = tables.detail("robustness-severities"), tables.detail("robustness-corruptions")
    if severities is None or corruptions is None:
        return []
    evaluators = sorted({str(row["evaluator"]) for row in severities.rows})
    rows = [row for row in corruptions.rows if row["cell"] == cell]
    made: list[HeatMap] = []
    for evaluator in evaluators:
        own = [row for row in severities.rows if row["evaluator"] == evaluator and row["cell"] == cell]
        names = list(dict.fromkeys(str(row["corruption"]) for row in own))
        extra = len({str(row["corruption"]) for row in own if row["counted"] == "no"})
        label = "corruption" if len(evaluators) == 1 else evaluator
        found = _heat_map(place, evaluator, label, names, extra, rows)
        if found is not None:
            made.append(found)
    return made


def _heat_map(
    place: int, evaluator: str, label: str, names: list[str], extra: int, rows: list[Record]
) -> HeatMap | None:
    columns = [f"{label}_{name}" for name in names]
    shown = [row for row in rows if any(_number(row, column) is not None for column in columns)]
    if not shown:
        return None
    base = next((row for row in shown if row[IS_BASE]), None)
    gaps = [
        abs(gap)
        for row in shown
        for column in columns
        if row is not base and (gap := _number(row, f"{column}_difference")) is not None
    ]
    reach = max([_LEAST_REACH, *gaps])
    lines = [
        HeatLine(
            row_key(place, str(row["arm"])), str(row["method"]), row is base,
            [_square(row, column, base, reach) for column in columns],
        )
        for row in shown
    ]  # fmt: skip
    return HeatMap(evaluator, [name.replace("_", " ") for name in names], extra, base is not None, reach, lines)


def _square(row: Record, column: str, base: Record | None, reach: float) -> Square:
    compared = base is not None and row is not base
    value = _number(row, f"{column}_difference" if compared else column)
    if value is None:
        return Square(column, "", "", 0.0)
    if not compared:
        return Square(column, fixed(value, 1), "", 0.0)
    side = "better" if value > 0 else "worse" if value < 0 else ""
    return Square(column, fixed(value, 1, signed=True), side, round(abs(value) / reach, 3))


def _number(row: Record, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or isinstance(value, str) else float(value)
