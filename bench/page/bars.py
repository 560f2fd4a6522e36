"""Where the bar of an interval begins and ends, in % of the width of its column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.table import Column, Record

_NEUTRAL = {"ratio": 1.0}
_MARGIN = 0.04


@dataclass(frozen=True)
class Bar:
    """left, width: the interval; point: the estimate; neutral: "no difference", where the column has such a value."""

    left: float
    width: float
    point: float
    neutral: float | None


class Scales:
    """The ends of each column's scale, one for each group of rows that may be compared. Only columns with intervals."""

    def __init__(self, columns: Iterable[Column], rows: Iterable[tuple[str, Record]]) -> None:
        self._columns = [column.name for column in columns]
        self._ends: dict[tuple[str, str], tuple[float, float]] = {}
        for group, row in rows:
            for name in self._columns:
                found = [value for end in ("", "_low", "_high") if (value := _number(row, f"{name}{end}")) is not None]
                if f"{name}_low" in row and found:
                    low, high = self._ends.get((group, name), (found[0], found[0]))
                    neutral = _neutral(name)
                    known = [*found, low, high, *([] if neutral is None else [neutral])]
                    self._ends[group, name] = min(known), max(known)

    def bar(self, group: str, name: str, row: Record) -> Bar | None:
        """The bar of a row's number; None for a column without intervals or without any extent."""
        value = _number(row, name)
        if value is None or (group, name) not in self._ends:
            return None
        low, high = self._ends[group, name]
        if high <= low:
            return None
        begin, end = _number(row, f"{name}_low"), _number(row, f"{name}_high")
        neutral = _neutral(name)

        def place(one: float) -> float:
            return round(100 * (_MARGIN + (1 - 2 * _MARGIN) * (one - low) / (high - low)), 1)

        left = place(begin if begin is not None else value)
        width = round(place(end if end is not None else value) - left, 1)
        return Bar(left, width, place(value), None if neutral is None else place(neutral))


def _neutral(name: str) -> float | None:
    return 0.0 if name.endswith("difference") else _NEUTRAL.get(name)


def _number(row: Record, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or isinstance(value, str) else float(value)
