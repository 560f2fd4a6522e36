"""Which runs stand in which row of which table: the records, laid out by cell, arm and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from bench.records import SCHEMA, RunRecord
from bench.report.measurements import by_seed, last_top1
from bench.spec import ExceptionSpec, Labels, Spec
from bench.stats import Variance, paired_variance

REFERENCE = "erm"


@dataclass
class Row:
    """One arm: the runs that differ in nothing but the seed.

    runs: by seed the record that counts, None for a planned run without one. name: the method's label, with the arm
    id where another row of the cell has the same label.
    """

    arm: str
    labels: Labels
    implementation: str
    exceptions: tuple[ExceptionSpec, ...]
    name: str
    runs: dict[int, RunRecord | None] = field(default_factory=dict[int, "RunRecord | None"])

    @cached_property
    def ok(self) -> dict[int, RunRecord]:
        """The runs that ended ok, by seed; to be asked for once all runs are there."""
        return {seed: run for seed, run in sorted(self.runs.items()) if run is not None and run.status == "ok"}

    @cached_property
    def top1(self) -> dict[int, float]:
        """Test top-1 after the last epoch, shares by seed, of the runs that have one."""
        return by_seed(self.ok, last_top1)

    @cached_property
    def statuses(self) -> dict[str, int]:
        """How many planned runs have which status, "ok" first, then by name; runs without a record are "missing"."""
        found = [run.status if run is not None else "missing" for run in self.runs.values()]
        return {status: found.count(status) for status in sorted(set(found), key=lambda name: (name != "ok", name))}


@dataclass
class Cell:
    """What may be compared: rows with the same data, backbone and protocol. base: the row of the reference method."""

    id: str
    data: str
    backbone: str
    protocol: str
    rows: list[Row] = field(default_factory=list[Row])
    base: Row | None = None

    @cached_property
    def variance(self) -> Variance | None:
        """What is left of top-1's variance within seeds; worked out once, with a decomposition of all runs."""
        return paired_variance({row.arm: row.top1 for row in self.rows})

    @property
    def title(self) -> str:
        """The cell's labels in one line."""
        return f"{self.data} / {self.backbone} / {self.protocol}"


@dataclass(frozen=True)
class Study:
    """All cells, in plan order or by title. notes: records that were left out, and why. planned: made from a plan."""

    cells: list[Cell]
    notes: list[str]
    planned: bool
    reference: str


def arrange(
    records: Iterable[RunRecord],
    plan: Sequence[Spec] | None = None,
    reference: str = REFERENCE,
    announced: Sequence[Spec] = (),
) -> Study:
    """Lay out records in rows.

    With a plan (every planned run's spec, data digest included) exactly its runs are shown, in its order. Without,
    all records are, and the begin lines' `planned` and the specs that are announced tell which runs are missing.
    reference: label or implementation of the method that differences are taken to.
    """
    notes: list[str] = []
    found = {record.run_id: record for record in _readable(records, notes)}
    placed = _specs(found, notes) if plan is None else [(spec, found.get(spec.run_id)) for spec in plan]
    there = {spec.run_id for spec, _ in placed}
    placed += [(spec, None) for spec in announced if spec.run_id not in there]
    rows: dict[str, Row] = {}
    cells: dict[str, Cell] = {}
    for spec, record in placed:
        arm, labels = spec.arm, spec.labels
        if arm not in rows:
            rows[arm] = Row(arm, labels, spec.method.implementation, spec.protocol.exceptions, labels.method)
            cell = cells.setdefault(spec.cell, Cell(spec.cell, labels.data, labels.backbone, labels.protocol))
            cell.rows.append(rows[arm])
        rows[arm].runs[spec.seed] = record
        if plan is None and record is not None:
            for seed in record.planned:
                rows[arm].runs.setdefault(seed, None)
    ordered = list(cells.values())
    if plan is None:
        ordered.sort(key=lambda cell: (cell.title, cell.id))
    for cell in ordered:
        _name(cell)
        cell.base = _base(cell, reference)
    _tell_apart(ordered)
    return Study(ordered, notes, plan is not None, reference)


def _readable(records: Iterable[RunRecord], notes: list[str]) -> list[RunRecord]:
    readable: list[RunRecord] = []
    strange: dict[int, int] = {}
    nameless = 0
    for record in records:
        if not record.spec:
            nameless += 1
        elif record.schema != SCHEMA:
            strange[record.schema] = strange.get(record.schema, 0) + 1
        else:
            readable.append(record)
    for schema, count in sorted(strange.items()):
        notes.append(f"{_runs(count)} left out: written with record schema {schema}, these tables read {SCHEMA}.")
    if nameless:
        notes.append(f"{_runs(nameless)} left out: the first line of the record is missing or damaged.")
    return readable


def _specs(found: dict[str, RunRecord], notes: list[str]) -> list[tuple[Spec, RunRecord | None]]:
    placed: list[tuple[Spec, RunRecord | None]] = []
    refused = 0
    for record in sorted(found.values(), key=lambda record: (record.attempt, record.run_id), reverse=True):
        spec = _spec(record.spec)
        if spec is None or spec.run_id != record.run_id:
            refused += 1
        else:
            placed.append((spec, record))
    if refused:
        notes.append(f"{_runs(refused)} left out: the spec in the record does not belong to its run id.")
    return placed


def _spec(plain: dict[str, Any]) -> Spec | None:
    try:
        spec = Spec.model_validate_json(json.dumps(plain))
    except ValidationError:
        return None
    return spec if spec.data.digest is not None else None


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _name(cell: Cell) -> None:
    labels = [row.labels.method for row in cell.rows]
    for row in cell.rows:
        if labels.count(row.labels.method) > 1:
            row.name = f"{row.labels.method} ({row.arm[:6]})"


def _tell_apart(cells: list[Cell]) -> None:
    titles = [cell.title for cell in cells]
    for cell in cells:
        if titles.count(f"{cell.data} / {cell.backbone} / {cell.protocol}") > 1:
            cell.protocol = f"{cell.protocol} ({cell.id[:6]})"


def _base(cell: Cell, reference: str) -> Row | None:
    by_label = [row for row in cell.rows if row.labels.method == reference]
    found = by_label or [row for row in cell.rows if row.implementation == reference]
    return max(found, key=lambda row: len(row.ok), default=None)
