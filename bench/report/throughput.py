"""The throughput table: step times of methods that were timed in turns, relative to the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BadInput
from bench.records import SpeedSession
from bench.report.measurements import number
from bench.report.rows import (
    ID_COLUMNS,
    IS_BASE,
    LABEL_COLUMNS,
    METHOD_FIELD,
    REFERENCE_TEXT,
    ids,
    interval_columns,
    labels,
)
from bench.report.study import Cell, Row, Study
from bench.report.table import NOT_MEASURED, Column, Field, Record, Table, plain, with_interval
from bench.stats import interquartile_range, median, median_interval

_RATIO = (
    "median over rounds of the step time relative to the reference's in the same round; the interval lies between "
    "order statistics and needs 6 rounds"
)
COLUMNS = [
    *LABEL_COLUMNS,
    Column("step_ms", "median time of one training step, milliseconds", 3),
    Column("step_ms_iqr", "interquartile range of the step times, milliseconds", 3),
    Column("images_per_second", "training images per second at the median step time", 1),
    *interval_columns("ratio", _RATIO, 3),
    Column("rounds", "rounds in which the method was timed"),
    Column("passes_per_step", "images sent through the network per training image", 2),
    Column("peak_memory_mib", "most memory allocated on the GPU, MiB", 1),
    Column("hardware", "what it was timed on"),
    Column("precision", "arithmetic of the training step"),
    Column("torch", "build of torch"),
    Column("batch_size", "training images per step"),
    *ID_COLUMNS,
]


@dataclass(frozen=True)
class Timing:
    """One arm over the sessions of a cell. rounds: step seconds by (session, round)."""

    rounds: dict[tuple[str, int], float]
    facts: dict[str, Any]


def throughput_table(study: Study, sessions: Sequence[SpeedSession], hardware: str | None = None) -> Table:
    """Build the table from the finished sessions of the study's cells.

    Newer sessions replace older ones that timed other code, with another torch, or with other settings. hardware: use
    only sessions whose hardware name contains this text. BadInput where sessions of one cell differ in hardware or
    precision.
    """
    usable = [session for session in sessions if session.status == "ok" and session.samples]
    if hardware is not None:
        usable = [session for session in usable if hardware.lower() in _text(session, "hardware").lower()]
    rows: list[Record] = []
    for cell in study.cells:
        current = _current([session for session in usable if session.begin.get("cell") == cell.id])
        _same_machine(cell, current)
        timings = {row.arm: _timing(row.arm, current) for row in cell.rows}
        base = timings[cell.base.arm] if cell.base is not None else None
        made = [(_record(cell, row, timings[row.arm], base, current), timings[row.arm]) for row in cell.rows]
        if not study.planned:
            made.sort(key=lambda entry: (not entry[1].rounds, entry[0]["ratio"] or 0.0, str(entry[0]["method"])))
        rows += [record for record, _ in made]
    return Table("throughput", "Throughput", COLUMNS, _fields(study.reference), rows, _notes(rows, study.reference))


def _current(sessions: list[SpeedSession]) -> list[SpeedSession]:
    if not sessions:
        return []
    newest = max(sessions, key=lambda session: session.name)
    return [session for session in sessions if _agree(session, newest)]


def _agree(session: SpeedSession, newest: SpeedSession) -> bool:
    """Same torch, same settings, and the same code for every method that both have timed."""
    if any(session.begin.get(key) != newest.begin.get(key) for key in ("torch", "settings")):
        return False
    digests, wanted = _digests(session), _digests(newest)
    return all(digests[arm] == wanted[arm] for arm in digests.keys() & wanted.keys())


def _digests(session: SpeedSession) -> dict[str, Any]:
    return dict(session.begin.get("source_digests") or {})


def _same_machine(cell: Cell, sessions: list[SpeedSession]) -> None:
    for key in ("hardware", "precision", "torch"):
        values = sorted({_text(session, key) for session in sessions})
        if len(values) > 1:
            raise BadInput(
                f"speed sessions of {cell.title} differ in {key} and cannot make one table: {' | '.join(values)}; "
                f"name one machine or move the other sessions out of {sessions[0].path.parent}"
            )


def _timing(arm: str, sessions: list[SpeedSession]) -> Timing:
    samples: dict[tuple[str, int], list[float]] = {}
    facts: dict[str, Any] = {}
    for session in sessions:
        for sample in session.samples:
            seconds, place = number(sample.get("seconds")), sample.get("round")
            if sample.get("arm") == arm and seconds and isinstance(place, int):
                samples.setdefault((session.name, place), []).append(seconds)
        facts = session.arms.get(arm, facts)
    return Timing({place: median(found) for place, found in sorted(samples.items())}, facts)


def _record(cell: Cell, row: Row, timing: Timing, base: Timing | None, sessions: list[SpeedSession]) -> Record:
    seconds = list(timing.rounds.values())
    typical = median(seconds) if seconds else None
    ratios = [timing.rounds[place] / base.rounds[place] for place in timing.rounds if base and place in base.rounds]
    interval = median_interval(ratios) if row is not cell.base else None
    images, memory = number(timing.facts.get("images_per_step")), number(timing.facts.get("peak_memory"))
    skipped = timing.facts.get("skipped")
    first = sessions[0] if sessions and seconds else None
    return {
        **labels(cell, row),
        "step_ms": typical * 1000 if typical else None,
        "step_ms_iqr": interquartile_range(seconds) * 1000 if seconds else None,
        "images_per_second": images / typical if images and typical else None,
        "ratio": median(ratios) if ratios else None,
        "ratio_low": interval.low if interval else None,
        "ratio_high": interval.high if interval else None,
        "rounds": len(seconds),
        "passes_per_step": number(timing.facts.get("passes_per_step")),
        "peak_memory_mib": memory / 2**20 if memory is not None else None,
        "hardware": _text(first, "hardware") if first else None,
        "precision": _text(first, "precision") if first else None,
        "torch": _text(first, "torch") if first else None,
        "batch_size": int(images) if images else None,
        **ids(cell, row, [f"skipped: {' '.join(str(skipped).split())}"] if skipped else []),
    }


def _text(session: SpeedSession, key: str) -> str:
    return str(session.begin.get(key) or "unknown")


def _fields(reference: str) -> list[Field]:
    return [
        METHOD_FIELD,
        Field("step ms", plain("step_ms", 2)),
        Field("IQR", plain("step_ms_iqr", 2)),
        Field("images/s", plain("images_per_second", 0)),
        Field(f"time / {reference} [95 %]", _ratio_text),
        Field("rounds", lambda row: str(row["rounds"] or NOT_MEASURED)),
        Field("passes/step", plain("passes_per_step", 2)),
        Field("peak MiB", plain("peak_memory_mib", 0)),
    ]


def _ratio_text(row: Record) -> str:
    return REFERENCE_TEXT if row[IS_BASE] and row["rounds"] else with_interval("ratio", 2)(row)


def _notes(rows: list[Record], reference: str) -> list[str]:
    notes = [
        "step ms: median over rounds of one whole training step (data, mixing, forward, backward, update).",
        f"time / {reference}: median over rounds of the ratio within a round; interval between order statistics.",
    ]
    machines = {
        f"{row['data']} / {row['backbone']} / {row['protocol']}: timed on {row['hardware']}, {row['precision']}, "
        f"torch {row['torch']}, batch {row['batch_size']}."
        for row in rows
        if row["hardware"] is not None
    }
    return [*notes, *sorted(machines)]
