"""What all tables share: identifying columns, footnotes, statistics as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.report.study import Cell, Row, Study
from bench.report.table import Column, Field, Record, Value, with_interval
from bench.stats import Interval, Variance, compare, mean

LABEL_COLUMNS = [
    Column("data", "name of the data config"),
    Column("backbone", "name of the backbone config"),
    Column("protocol", "name of the protocol config; with an id where two protocols share a name"),
    Column("method", "name of the method config; with an id where two arms share a name"),
    Column("implementation", "file stem of the method's code"),
]
COUNT_COLUMNS = [
    Column("n_ok", "runs that ended ok"),
    Column("n_planned", "runs that were planned"),
    Column("statuses", "how many runs ended how"),
]
ID_COLUMNS = [
    Column("footnotes", "exceptions from the protocol, skips, failures and doubts about this row"),
    Column("cell", "id of what is compared: spec without method and seed"),
    Column("arm", "id of the row: spec without seed"),
]
IS_BASE = "is_base"
"""Key of a row's mark that it is the reference; no column."""
REMARKS = "remarks"
"""Key of the footnotes that people are shown where the accuracy table shows the others; no column."""
REFERENCE_TEXT = "reference"
METHOD_FIELD = Field("method", lambda row: str(row["method"]), left=True)
COUNT_FIELD = Field("ok/plan", lambda row: f"{row['n_ok']}/{row['n_planned']}")


def labels(cell: Cell, row: Row) -> Record:
    """The identifying columns of a row, and its mark."""
    return {
        IS_BASE: int(row is cell.base),
        "data": cell.data,
        "backbone": cell.backbone,
        "protocol": cell.protocol,
        "method": row.name,
        "implementation": row.implementation,
    }


def counts(row: Row) -> Record:
    """The run counts of a row."""
    statuses = row.statuses
    text = ", ".join(f"{count} {status}" for status, count in statuses.items())
    return {"n_ok": statuses.get("ok", 0), "n_planned": len(row.runs), "statuses": text}


def ids(cell: Cell, row: Row, footnotes: list[str]) -> Record:
    """Footnotes and ids of a row."""
    return {"footnotes": "; ".join(footnotes), "cell": cell.id, "arm": row.arm}


def row_footnotes(row: Row) -> list[str]:
    """Exceptions from the protocol, reasons of skips and failures, and mixtures of sources or builds."""
    found: list[str] = []
    for exception in row.exceptions:
        changes = ", ".join(f"{key} = {value}" for key, value in sorted(exception.set.items()))
        found.append(f"exception: {changes} ({exception.reason})")
    reasons: dict[str, int] = {}
    for _, run in sorted(row.runs.items()):
        if run is not None and run.status != "ok":
            text = f"{run.status}: {run.reason}" if run.reason else run.status
            reasons[text] = reasons.get(text, 0) + 1
    found += [f"{count} x {text}" if count > 1 else text for text, count in reasons.items()]
    if missing := sum(run is None for run in row.runs.values()):
        found.append(f"{missing} planned without a record")
    runs = list(row.ok.values())
    if len({run.source_digest for run in runs}) > 1:
        found.append("runs were made with different versions of the source")
    if len({str(run.provenance.get("torch_build")) for run in runs}) > 1:
        found.append("runs were made with different builds of torch")
    return [" ".join(text.split()) for text in found]


def ordered_rows(study: Study, cell: Cell, values: Mapping[str, float | None]) -> list[Row]:
    """Rows as planned; without a plan the highest value first and rows without one last."""
    if study.planned:
        return cell.rows

    def place(row: Row) -> tuple[bool, float, str]:
        value = values.get(row.arm)
        return value is None, -(value or 0.0), row.name

    return sorted(cell.rows, key=place)


def interval_columns(
    name: str, meaning: str, decimals: int | None, df: bool = False, digits: int | None = None, detail: bool = False
) -> list[Column]:
    """Columns of an estimate with its 95 % interval. detail: the estimate itself stands behind another column."""
    columns = [
        Column(name, meaning, decimals, digits, detail),
        Column(f"{name}_low", f"{name}: lower end of the 95 % interval", decimals, digits, detail=True),
        Column(f"{name}_high", f"{name}: upper end of the 95 % interval", decimals, digits, detail=True),
    ]
    if df:
        columns.append(Column(f"{name}_df", f"{name}: degrees of freedom of the interval", detail=True))
        columns.append(Column(f"{name}_n", f"{name}: seeds that both methods have", detail=True))
    return columns


def interval_values(
    name: str, interval: Interval | None, scale: float = 1.0, estimate: float | None = None, df: bool = False
) -> Record:
    """Values for `interval_columns`; `estimate` stands in where there is no interval."""
    values: dict[str, Value] = {
        name: interval.estimate * scale if interval else None if estimate is None else estimate * scale,
        f"{name}_low": interval.low * scale if interval else None,
        f"{name}_high": interval.high * scale if interval else None,
    }
    if df:
        values[f"{name}_df"] = interval.df if interval else None
        values[f"{name}_n"] = interval.n if interval else None
    return values


@dataclass(frozen=True)
class Differences:
    """All rows of a cell against its base in one measurement. measured: values by arm and seed, as shares."""

    cell: Cell
    measured: Mapping[str, Mapping[int, float]]
    intervals: Mapping[str, Interval | None]
    pooled: bool

    def record(self, name: str, row: Row, df: bool = False, scale: float = 100.0) -> Record:
        """Values, in points, for `interval_columns(name)`; only the estimate where no interval can be told."""
        return interval_values(name, self.intervals.get(row.arm), scale, self.gap(row), df)

    def gap(self, row: Row) -> float | None:
        """Mean difference over the seeds that both have; None for the base itself and without a common seed."""
        if self.cell.base is None or row is self.cell.base:
            return None
        own, base = self.measured[row.arm], self.measured[self.cell.base.arm]
        common = sorted(own.keys() & base.keys())
        return mean([own[seed] - base[seed] for seed in common]) if common else None


def differences(
    cell: Cell, measured: Mapping[str, Mapping[int, float]], variance: Variance | None = None
) -> Differences:
    """Compare a cell's rows with its base; without a base there is nothing to compare with.

    variance: the paired variance of what was measured, where it is known.
    """
    if cell.base is None:
        return Differences(cell, measured, {}, True)
    comparison = compare(measured, cell.base.arm, variance=variance)
    return Differences(cell, measured, comparison.intervals, comparison.pooled)


def difference_text(name: str, decimals: int) -> Callable[[Record], str]:
    """Text of a difference with its interval; the base itself says so."""
    text = with_interval(name, decimals, signed=True)
    return lambda row: REFERENCE_TEXT if row[IS_BASE] else text(row)
