"""Tables of evaluator numbers with one row a method: means over seeds, intervals, differences to the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.report.measurements import by_seed
from bench.report.quantity import Quantity, arms_of, groups_of, quantity_columns
from bench.report.readings import Readings
from bench.report.rows import (
    COUNT_COLUMNS,
    COUNT_FIELD,
    ID_COLUMNS,
    LABEL_COLUMNS,
    METHOD_FIELD,
    REMARKS,
    Differences,
    counts,
    differences,
    ids,
    interval_values,
    labels,
    ordered_rows,
    row_footnotes,
)
from bench.report.study import Cell, Row, Study
from bench.report.table import Column, Field, Record, Table
from bench.stats import mean, mean_interval

_NAMED = 6
"""As many columns are named in one note, of more the rest is counted."""


@dataclass(frozen=True)
class Further:
    """What a table has beside its quantities: columns before and after them, their values, notes on a cell."""

    before: Sequence[Column] = ()
    after: Sequence[Column] = ()
    values: Callable[[Row], Record] = lambda row: {}
    notes: Callable[[Cell], list[str]] = lambda cell: []


def quantity_table(
    study: Study, readings: Readings, name: str, title: str, quantities: Sequence[Quantity], fields: Sequence[Field],
    notes: Sequence[str] = (), further: Further | None = None,
) -> Table:  # fmt: skip
    """The table of these quantities. notes come first, then where the numbers are from, then what each cell needs."""
    more = further or Further()
    rows: list[Record] = []
    said = [*notes, *_source_notes(readings, quantities)]
    for cell in study.cells:
        numbers = cell_numbers(cell, readings, quantities)
        said += [*more.notes(cell), *numbers.notes()]
        for row in rows_by_accuracy(study, cell):
            rows.append(method_record(cell, row, numbers.record(row) | more.values(row), numbers.remarks(row)))
    own = [*more.before, *quantity_columns(quantities), *more.after]
    columns = [*LABEL_COLUMNS, *COUNT_COLUMNS, *own, *ID_COLUMNS]
    return Table(name, title, columns, [METHOD_FIELD, COUNT_FIELD, *fields], rows, said)


@dataclass(frozen=True)
class CellNumbers:
    """A cell's quantities: by name the values by arm and seed and their differences to the reference."""

    cell: Cell
    readings: Readings
    quantities: Sequence[Quantity]
    compared: dict[str, Differences]

    def record(self, row: Row) -> Record:
        """A row's values for `quantity_columns`."""
        record: Record = {}
        for group in groups_of(self.quantities):
            own = [one for one in self.quantities if one.group == group]
            record[f"{group}_runs"] = len(self._complete(row, own))
            for quantity in own:
                found = self.compared[quantity.name]
                values = list(found.measured[row.arm].values())
                estimate = mean(values) if values else None
                record |= interval_values(quantity.name, mean_interval(values), quantity.scale, estimate)
                if quantity.compared:
                    record |= found.record(f"{quantity.name}_difference", row, scale=quantity.scale)
        return record

    def remarks(self, row: Row) -> list[str]:
        """Which evaluations rest on fewer runs than ended ok, and which numbers some of the runs cannot have."""
        found: list[str] = []
        for group in groups_of(self.quantities):
            own = [one for one in self.quantities if one.group == group]
            complete = self._complete(row, own)
            if 0 < len(complete) < len(row.ok):
                found.append(f"{group}: {len(complete)} of {len(row.ok)} ok runs measured")
            valued = {one.name: len(self.compared[one.name].measured[row.arm].keys() & complete) for one in own}
            found += [
                f"{name}: a number in {count} of {len(complete)} runs"
                for name, count in valued.items()
                if 0 < count < len(complete)
            ]
        return found

    def notes(self) -> list[str]:
        """Which differences rest on their own spread."""
        own = [one.name for one in self.quantities if one.compared and not self.compared[one.name].pooled]
        if not own:
            return []
        text = "seed spreads differ between methods, so each difference uses its own, in"
        return [f"{self.cell.title}: {text} {_listed(own)}."]

    def _complete(self, row: Row, own: Sequence[Quantity]) -> set[int]:
        parts = {part for one in own for part in one.parts}
        return {seed for seed, run in row.ok.items() if all(self.readings.recorded(run, part) for part in parts)}


def cell_numbers(cell: Cell, readings: Readings, quantities: Sequence[Quantity]) -> CellNumbers:
    """All quantities of a cell's rows."""
    compared = {
        one.name: differences(
            cell, {row.arm: by_seed(row.ok, lambda run, one=one: one.value(readings, run)) for row in cell.rows}
        )
        for one in quantities
    }
    return CellNumbers(cell, readings, quantities, compared)


def rows_by_accuracy(study: Study, cell: Cell) -> list[Row]:
    """A cell's rows as planned; without a plan the highest clean top-1 first."""
    top1 = {row.arm: list(row.top1.values()) for row in cell.rows}
    return ordered_rows(study, cell, {arm: mean(values) if values else None for arm, values in top1.items()})


def method_record(cell: Cell, row: Row, record: Record, remarks: Sequence[str]) -> Record:
    """A whole row: labels, counts, the record, footnotes; of the footnotes people are shown only the remarks."""
    own = {REMARKS: "; ".join(remarks)}
    return {**labels(cell, row), **counts(row), **record, **own, **ids(cell, row, [*row_footnotes(row), *remarks])}


def _source_notes(readings: Readings, quantities: Sequence[Quantity]) -> list[str]:
    """The evaluator arms behind the quantities: their titles, and how many runs were left out."""
    told: list[str] = []
    for arm in arms_of(quantities):
        source = readings.sources[arm]
        others = f", {source.others} run(s) made with other settings or code left out" if source.others else ""
        told.append(f"{arm} ({source.title}{others})")
    return [f"Evaluators: {'; '.join(told)}."] if told else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
