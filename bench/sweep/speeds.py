"""How long an epoch and an evaluator take, from what finished and running runs have recorded."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bench.env import hardware
from bench.records import RunRecord
from bench.spec import Spec

RUNS_READ = 3
"""Runs of one table row on one machine that are read; more would tell little and cost time."""


class Speeds:
    """Medians by machine, of runs of the same table row, else of the same cell.

    records: runs with what they have recorded; only those that say on which machine they ran count, and of each row
    and machine the first few. Their epochs count also where they have not ended.
    """

    def __init__(self, records: Iterable[tuple[Spec, RunRecord]]) -> None:
        self._epochs: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._cells: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._evaluators: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self._latest = ("", "")
        for spec, record in records:
            machine = machine_of(record.provenance)
            if not machine:
                continue
            self._latest = max(self._latest, (record.attempt, machine))
            key = (machine, spec.arm)
            if len(self._epochs[key]) < RUNS_READ and (seconds := epoch_seconds(record)) is not None:
                self._epochs[key].append(seconds)
                self._cells[machine, spec.cell].append(seconds)
                self._add_evaluators(machine, spec.cell, record)

    @property
    def machines(self) -> list[str]:
        """The machines that some epoch was timed on."""
        return sorted({machine for (machine, _), found in self._epochs.items() if found})

    @property
    def latest(self) -> str:
        """The machine of the newest attempt, "" without any."""
        return self._latest[1]

    def row(self, spec: Spec, machine: str) -> float | None:
        """Seconds of an epoch of runs that differ from this one in nothing but the seed."""
        return _median(self._epochs.get((machine, spec.arm)))

    def cell(self, spec: Spec, machine: str) -> float | None:
        """Seconds of an epoch over all methods timed on the same data, backbone and protocol."""
        return _median(self._cells.get((machine, spec.cell)))

    def evaluator(self, spec: Spec, name: str, machine: str) -> float | None:
        """Seconds of an evaluator on runs of the same data, backbone and protocol."""
        return _median(self._evaluators.get((machine, spec.cell, name)))

    def _add_evaluators(self, machine: str, cell: str, record: RunRecord) -> None:
        for name in record.evaluations:
            found = self._evaluators[machine, cell, name]
            if len(found) < RUNS_READ and (seconds := _evaluator_seconds(record, name)) is not None:
                found.append(seconds)


def machine_of(provenance: Mapping[str, Any]) -> str:
    """The machine class of a record, "" where it does not say."""
    known = provenance.get("gpu") or (provenance.get("processor") and "threads" in provenance)
    return hardware(dict(provenance)) if known else ""


def epoch_seconds(record: RunRecord) -> float | None:
    """Seconds of an epoch: the median of those recorded, or the whole training time by epoch where that is more.

    The whole includes start, test evaluations and what is written at the end. A run that was continued has recorded
    only the time since then, which is then the smaller of both. None without any epoch.
    """
    median = record.training.epoch_seconds
    if median is None:
        return None
    whole = record.seconds / record.training.epochs if record.status == "ok" and record.seconds else 0.0
    return max(median, whole)


def _evaluator_seconds(record: RunRecord, name: str) -> float | None:
    found = record.evaluation_summary(name)
    if found is None or found.end is None or any(one.get("done") for one in found.begins):
        return None
    seconds = found.end.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _median(values: list[float] | None) -> float | None:
    return statistics.median(values) if values else None
