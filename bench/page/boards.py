"""Tables as the page shows them: headings with units, numbers with drawn intervals, numbered footnotes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.page.bars import Bar, Scales
from bench.page.part import Part, families, row_key
from bench.report.provenance import PROVENANCE_COLUMNS
from bench.report.rows import COUNT_COLUMNS, ID_COLUMNS, IS_BASE, LABEL_COLUMNS, REFERENCE_TEXT
from bench.report.table import Column, Record, Table, Value, fixed

_HIDDEN = {column.name for column in (*LABEL_COLUMNS, *COUNT_COLUMNS, *PROVENANCE_COLUMNS, *ID_COLUMNS)}
_PLACES = ("data", "backbone", "protocol")
"""Label columns that are shown where the rows differ in them."""
_NAMES = {
    "top1": "top-1", "top5": "top-5", "nll": "NLL", "ece": "ECE", "ece_floor": "ECE floor",
    "difference": "top-1 minus reference", "corruption_mean": "corrupted",
    "corruption_difference": "corrupted minus reference", "fgsm_mean": "FGSM", "ratio": "step time ratio",
    "peak_memory_mib": "peak memory", "best_epoch_selected_on_test": "best epoch",
}  # fmt: skip
_UNITS = {"%": "%", "points": "points", "MiB": "MiB", "milliseconds": "ms", "nats": "nats"}


@dataclass(frozen=True)
class Heading:
    """A column: its name in the CSV, what people read, what it means."""

    name: str
    text: str
    meaning: str
    measure: bool


@dataclass(frozen=True)
class Measure:
    """A number in a row. order: what it is sorted by, empty for what was not measured. reach: its interval as text."""

    text: str
    order: str
    reach: str = ""
    bar: Bar | None = None


@dataclass(frozen=True)
class Line:
    """One row: its key, the labels that filters look at, its run counts, its numbers, numbers of its footnotes."""

    key: str
    part: str
    data: str
    backbone: str
    protocol: str
    family: str
    method: str
    implementation: str
    base: bool
    count: str
    complete: bool
    places: list[str]
    measures: list[Measure]
    notes: list[int]


@dataclass(frozen=True)
class Board:
    """A table of the page. common: what all rows share; unmeasured: headings of columns that no row has a number in."""

    name: str
    title: str
    places: list[str]
    headings: list[Heading]
    lines: list[Line]
    counted: bool
    common: str
    unmeasured: list[str]
    footnotes: list[str]
    notes: list[str] = field(default_factory=list[str])


def board(name: str, title: str, tables: Sequence[tuple[int, Part, Table]]) -> Board:
    """One board from the tables of one kind of all parts: (place of the part, part, table)."""
    rows = [(place, part, row) for place, part, table in tables for row in table.rows]
    columns = list({column.name: column for _, _, table in tables for column in table.columns}.values())
    candidates = [column for column in columns if column.name not in _HIDDEN and not column.detail]
    shown = [column for column in candidates if any(row.get(column.name) not in (None, "") for _, _, row in rows)]
    scales = Scales(shown, [(_group(place, row), row) for place, _, row in rows])
    varying = [label for label in _PLACES if len({str(row[label]) for _, _, row in rows}) > 1]
    several = len({part.name for _, part, _ in rows}) > 1
    own = {place: families(part.tables) for place, part, _ in tables}
    numbers: dict[str, int] = {}
    lines = [
        _line(place, part, row, shown, scales, (*(("suite",) if several else ()), *varying), own[place], numbers)
        for place, part, row in rows
    ]
    return Board(
        name, title, [*(("suite",) if several else ()), *varying],
        [Heading(one.name, heading_text(one), one.meaning, _is_number(one)) for one in shown],
        lines, any("n_ok" in row for _, _, row in rows), _common(rows, varying),
        [heading_text(one) for one in candidates if one not in shown], list(numbers),
        list(dict.fromkeys(note for _, _, table in tables for note in table.notes)),
    )  # fmt: skip


def heading_text(column: Column) -> str:
    """A column's name for people, with the unit that its meaning ends in."""
    text = _NAMES.get(column.name, column.name.replace("_", " "))
    words = column.meaning.replace(";", ",").split(", ")
    unit = next((_UNITS[word.split(":")[0]] for word in words if word.split(":")[0] in _UNITS), "")
    return text if not unit or text.endswith(unit) else f"{text}, {unit}"


def number_text(value: Value, column: Column) -> str:
    """A value as its column is written."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if column.digits is not None:
        return f"{value:.{column.digits}g}"
    return fixed(float(value), column.decimals) if column.decimals is not None else str(value)


def _line(
    place: int, part: Part, row: Record, columns: Iterable[Column], scales: Scales, places: Sequence[str],
    family: dict[str, str], numbers: dict[str, int],
) -> Line:  # fmt: skip
    arm, notes = str(row["arm"]), str(row.get("footnotes") or "")
    for note in filter(None, [notes]):
        numbers.setdefault(note, len(numbers) + 1)
    labels = {"suite": part.name, **{name: str(row[name]) for name in _PLACES}}
    ok, planned = row.get("n_ok"), row.get("n_planned")
    return Line(
        row_key(place, arm), part.name, labels["data"], labels["backbone"], labels["protocol"], family[arm],
        str(row["method"]), str(row["implementation"]), bool(row[IS_BASE]),
        "" if ok is None else f"{ok}/{planned}", ok == planned,
        [labels[name] for name in places],
        [_measure(row, column, scales, _group(place, row)) for column in columns],
        [numbers[notes]] if notes else [],
    )  # fmt: skip


def _measure(row: Record, column: Column, scales: Scales, group: str) -> Measure:
    value = row.get(column.name)
    if value is None:
        compared = column.name.endswith("difference") or column.name == "ratio"
        return Measure(REFERENCE_TEXT if row[IS_BASE] and compared else "", "")
    text = number_text(value, column)
    if isinstance(value, str):
        return Measure(text, text.lower())
    low, high = row.get(f"{column.name}_low"), row.get(f"{column.name}_high")
    reach = "" if low is None or high is None else f"{number_text(low, column)} to {number_text(high, column)}"
    return Measure(text, repr(float(value)), reach, scales.bar(group, column.name, row))


def _group(place: int, row: Record) -> str:
    return f"{place}-{row['cell']}"


def _is_number(column: Column) -> bool:
    return column.decimals is not None or column.digits is not None


def _common(rows: list[tuple[int, Part, Record]], varying: Sequence[str]) -> str:
    if not rows:
        return "No runs."
    shared = [f"{name} {rows[0][2][name]}" for name in _PLACES if name not in varying]
    return f"All rows: {', '.join(shared)}." if shared else ""
