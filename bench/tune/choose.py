"""What the trials came to, and which setting of a method is taken: validation accuracy decides, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import RunRecord
from bench.report.measurements import inside, number
from bench.tune.plan import Trial

OPEN = ("incomplete", "interrupted", "missing")
"""Trials with these endings have not had their chance yet."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. validation: top-1 on the validation images after the last epoch, None where it failed."""

    trial: Trial
    run_id: str
    status: str
    reason: str
    validation: float | None
    validation_images: int | None


def outcome(trial: Trial, run_id: str, record: RunRecord | None) -> Outcome:
    """Read a trial's record. Of the epochs only the last counts: the best one would be chosen for its luck."""
    if record is None:
        return Outcome(trial, run_id, "missing", "", None, None)
    if record.status != "ok" or not record.training.epochs:
        return Outcome(trial, run_id, record.status, record.reason, None, None)
    measured = inside(record.training.last, "validation")
    images = number(measured.get("n"))
    return Outcome(trial, run_id, "ok", "", number(measured.get("top1")), None if images is None else int(images))


def choose(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The trial with the highest validation top-1; of equal ones the earliest, so that the default wins a tie.

    None where no trial has a validation accuracy.
    """
    measured = [(found.validation, -found.trial.number, found) for found in outcomes if found.validation is not None]
    return max(measured, key=lambda entry: entry[:2])[2] if measured else None
