"""A table: documented columns, rows of values, notes; and its exact CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pandas import DataFrame

Value = str | int | float | None
Record = dict[str, Value]
"""One row of a table by column name."""

BLOCK = "block"
"""Key of what tells a row's block from others of the same cell; no column."""
NOT_MEASURED = "not measured"
NOT_APPLICABLE = "-"
_LONGEST_NAME = 30


@dataclass(frozen=True)
class Column:
    """A column of a CSV. decimals: places after the point; None for whole numbers, text, and where `digits` counts.

    digits: significant digits instead, for numbers of any size. detail: an end of an interval or a count behind the
    column before it.
    """

    name: str
    meaning: str
    decimals: int | None = None
    digits: int | None = None
    detail: bool = False

    def text(self, value: Value) -> str:
        """A value as the CSV has it; empty for what was not measured."""
        if value is None:
            return ""
        if self.digits is not None:
            return f"{float(value):.{self.digits}g}"
        return fixed(float(value), self.decimals) if self.decimals is not None else str(value)


@dataclass(frozen=True)
class Field:
    """A column for people: heading and text of a row. Numbers stand right, text left."""

    heading: str
    text: Callable[[Record], str]
    left: bool = False
    where: Literal["both", "terminal", "markdown"] = "both"


@dataclass(frozen=True)
class Table:
    """rows hold a value for every column. fields: what people are shown, a block for each (data, backbone, protocol).

    notes: remarks on the whole table. footnotes: remarks on a row, numbered in the order of the rows. on_page: whether
    the Markdown page shows the rows, or only names the CSV.
    """

    name: str
    title: str
    columns: list[Column]
    fields: list[Field]
    rows: list[Record]
    notes: list[str] = field(default_factory=list[str])
    on_page: bool = True

    def frame(self) -> DataFrame:
        """The table as a pandas DataFrame: numbers as numbers at full precision, missing ones as NaN."""
        from pandas import DataFrame

        return DataFrame(
            {column.name: [_plain(row[column.name], column) for row in self.rows] for column in self.columns}
        )

    def csv(self) -> str:
        """The table as CSV text: fixed decimals, an empty cell for what was not measured, lines end in a newline."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow([column.name for column in self.columns])
        lines.writerows([column.text(row[column.name]) for column in self.columns] for row in self.rows)
        return text.getvalue()

    def blocks(self) -> list[tuple[str, list[Record]]]:
        """Rows by cell and machine, where several timed one, each block with its title, in row order."""
        found: dict[str, list[Record]] = {}
        for row in self.rows:
            parts = (row["data"], row["backbone"], row["protocol"], row.get(BLOCK))
            found.setdefault(" / ".join(str(part) for part in parts if part is not None), []).append(row)
        return list(found.items())


def shortened(name: str) -> str:
    """A name of at most 30 characters: beginning and end of a longer one."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 13]}...{name[-10:]}"


def fixed(value: float, decimals: int, signed: bool = False) -> str:
    """A number with this many decimals; never "-0.0"."""
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "+" if signed else "") if float(text) == 0 else text


def plain(name: str, decimals: int) -> Callable[[Record], str]:
    """Text of one number."""

    def text(row: Record) -> str:
        value = row[name]
        return NOT_MEASURED if value is None else fixed(float(value), decimals)

    return text


def significant(name: str, digits: int) -> Callable[[Record], str]:
    """Text of one number of any size."""

    def text(row: Record) -> str:
        value = row[name]
        return NOT_MEASURED if value is None else f"{float(value):.{digits}g}"

    return text


def with_interval(name: str, decimals: int, signed: bool = False) -> Callable[[Record], str]:
    """Text of a number and its interval, from the columns name, name_low and name_high."""

    def text(row: Record) -> str:
        value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
        if value is None:
            return NOT_MEASURED
        estimate = fixed(float(value), decimals, signed)
        if low is None or high is None:
            return estimate
        return f"{estimate} [{fixed(float(low), decimals, signed)}, {fixed(float(high), decimals, signed)}]"

    return text


def _plain(value: Value, column: Column) -> Value:
    is_number = column.decimals is not None or column.digits is not None
    return math.nan if value is None and is_number else value
