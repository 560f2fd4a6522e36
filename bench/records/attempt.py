"""Reading one attempt at a run, and which of several attempts decides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records.runs import STATUSES, TRAIN_FILE, RunRecord
from bench.records.sharing import mapping
from bench.records.summaries import Summaries


def read_attempt(run: str, name: str, summaries: Summaries) -> RunRecord | None:
    """One attempt as a RunRecord; tolerates every kind of damage. None where it has written nothing.

    run: path of the run's folder. name: of the attempt's folder in it.
    """
    folder = f"{run}{os.sep}{name}"
    training = summaries.training_if_any(f"{folder}{os.sep}{TRAIN_FILE}")
    if training is None:
        return None
    status, reason = _ending(training.end)
    run_id = str(training.run_id or Path(run).name)
    begin = summaries.begin(training.begin)
    record = RunRecord(run_id, name, (name,), folder, begin, status, reason, training, summaries)
    return _distrust(record)


def deciding(attempts: Sequence[RunRecord]) -> RunRecord:
    """Of several attempts at one run, oldest first: the newest that ended ok, else the newest."""
    return next((attempt for attempt in reversed(attempts) if attempt.status == "ok"), attempts[-1])


def planned_epochs(spec: dict[str, Any]) -> int | None:
    """How many epochs a spec asks for, its method's exceptions applied; None for a spec that does not say."""
    protocol = mapping(spec.get("protocol"))
    asked = protocol.get("epochs")
    for exception in protocol.get("exceptions") or ():
        asked = mapping(mapping(exception).get("set")).get("epochs", asked)
    return asked if isinstance(asked, int) else None


def _distrust(record: RunRecord) -> RunRecord:
    """A run that ended ok but whose record lost epochs to damage is no finished run."""
    if record.status != "ok" or not record.damaged:
        return record
    planned = planned_epochs(record.spec)
    if record.spec and (planned is None or record.training.epochs >= planned):
        return record
    numbers = ", ".join(map(str, record.damaged))
    return replace(record, status="incomplete", reason=f"damaged lines in {TRAIN_FILE}: {numbers}")


def _ending(end: dict[str, Any] | None) -> tuple[str, str]:
    if end is None:
        return "incomplete", ""
    status = str(end.get("status"))
    if status not in STATUSES:
        return "error", f"ended with the unknown status {status!r}"
    return status, str(end.get("reason") or "")
