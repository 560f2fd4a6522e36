"""Reading one attempt at a run, and which of several attempts decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bench.records.line import decode, intact
from bench.records.reader import read_raw
from bench.records.runs import STATUSES, TRAIN_FILE, RunRecord

_FRAME = re.compile(rb'"kind":"(?:begin|resume|end)"')


def read_attempt(folder: Path) -> RunRecord:
    """One attempt as a RunRecord; tolerates every kind of damage and a missing file."""
    raw = read_raw(folder / TRAIN_FILE)
    begin: dict[str, Any] = {}
    end: dict[str, Any] | None = None
    damaged: list[int] = []
    for number, text in raw.numbered:
        if not intact(text):
            damaged.append(number)
        elif _FRAME.search(text) and (line := decode(text)):
            if line["kind"] in ("begin", "resume"):
                begin, end = line, None
            elif line["kind"] == "end":
                end = line
    torn = bool(damaged) and not raw.finished and damaged[-1] == raw.numbered[-1][0]
    status, reason = _ending(end)
    record = RunRecord(
        run_id=str(begin.get("run_id") or folder.parent.name),
        attempt=folder.name,
        attempts=(folder.name,),
        folder=folder,
        schema=begin["schema"] if isinstance(begin.get("schema"), int) else 0,
        spec=_mapping(begin.get("spec")),
        labels={name: str(value) for name, value in _mapping(begin.get("labels")).items()},
        provenance=_mapping(begin.get("provenance")),
        source_digest=str(begin.get("source_digest") or ""),
        planned=_seeds(begin.get("planned")),
        status=status,
        reason=reason,
        seconds=end.get("seconds") if end else None,
        torn=torn,
        damaged=tuple(damaged[:-1] if torn else damaged),
    )
    return _distrust(record)


def deciding(attempts: Sequence[RunRecord]) -> RunRecord:
    """Of several attempts at one run, oldest first: the newest that ended ok, else the newest."""
    return next((attempt for attempt in reversed(attempts) if attempt.status == "ok"), attempts[-1])


def planned_epochs(spec: dict[str, Any]) -> int | None:
    """How many epochs a spec asks for, its method's exceptions applied; None for a spec that does not say."""
    protocol = _mapping(spec.get("protocol"))
    asked = protocol.get("epochs")
    for exception in protocol.get("exceptions") or ():
        asked = _mapping(_mapping(exception).get("set")).get("epochs", asked)
    return asked if isinstance(asked, int) else None


def _distrust(record: RunRecord) -> RunRecord:
    """A run that ended ok but whose record lost epochs to damage is no finished run."""
    if record.status != "ok" or not record.damaged:
        return record
    planned = planned_epochs(record.spec)
    if record.spec and (planned is None or len(record.epochs) >= planned):
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


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _seeds(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(seed for seed in cast("list[Any]", value) if isinstance(seed, int))
