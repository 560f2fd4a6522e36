"""A column of evaluator numbers: from which recorded parts it is formed, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.records import RunRecord
from bench.report.readings import Readings, Series
from bench.report.rows import interval_columns
from bench.report.table import Column, Field, plain, significant, with_interval
from bench.stats import mean

Combine = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Quantity:
    """A column: one number a run, made from recorded parts, shown as the mean over a row's runs.

    group: what its count of runs is called. combine: parts in order to the run's number; a run that lacks a part has
    none. scale: 100 for shares shown in %. decimals or digits as `Column` has them. compared: with the difference to
    the reference.
    """

    name: str
    meaning: str
    group: str
    parts: tuple[Series, ...]
    combine: Combine = mean
    scale: float = 100.0
    decimals: int | None = 2
    digits: int | None = None
    compared: bool = True

    def value(self, readings: Readings, run: RunRecord) -> float | None:
        """A run's number before scaling; None where a part was not measured."""
        values = [readings.value(run, part) for part in self.parts]
        known = [value for value in values if value is not None]
        return self.combine(known) if len(known) == len(values) else None

    def field(self, heading: str, decimals: int = 1) -> Field:
        """The column for people, on the Markdown page only."""
        text = significant(self.name, self.digits) if self.digits else plain(self.name, decimals)
        return Field(heading, text, where="markdown")

    def interval_field(self, heading: str) -> Field:
        """The same with its 95 % interval."""
        return Field(heading, with_interval(self.name, self.decimals or 2), where="markdown")


def measured_only(readings: Readings, quantities: Iterable[Quantity]) -> list[Quantity]:
    """The quantities that at least one run can have."""
    return [
        quantity for quantity in quantities if quantity.parts and all(map(readings.measured, quantity.parts))
    ]  # fmt: skip


def quantity_columns(quantities: Sequence[Quantity]) -> list[Column]:
    """Each group's count of runs, and each quantity with its interval and its difference."""
    columns: list[Column] = []
    for group in groups_of(quantities):
        columns.append(Column(f"{group}_runs", f"ok runs whose evaluation by '{group}' holds all these numbers"))
        for quantity in (one for one in quantities if one.group == group):
            decimals, digits = quantity.decimals, quantity.digits
            columns += interval_columns(quantity.name, quantity.meaning, decimals, digits=digits)
            if quantity.compared:
                meaning = f"{quantity.name} minus that of the reference, paired by seed"
                columns += interval_columns(
                    f"{quantity.name}_difference", meaning, decimals, digits=digits, detail=True
                )
    return columns


def groups_of(quantities: Sequence[Quantity]) -> list[str]:
    """The groups in order."""
    return list(dict.fromkeys(one.group for one in quantities))


def arms_of(quantities: Sequence[Quantity]) -> list[str]:
    """The evaluator arms behind the quantities, in order."""
    return list(dict.fromkeys(part.arm for one in quantities for part in one.parts))
