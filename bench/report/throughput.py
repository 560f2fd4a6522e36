"""The throughput table: step times of methods that were timed in turns, relative to the reference."""

from __future__ import annotations

from collections.abc import Sequence

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
from bench.report.table import BLOCK, NOT_MEASURED, Column, Field, Record, Table, plain, with_interval
from bench.report.throughput_ratio import FEWEST_PROCESSES, noise_floor, ratio_of
from bench.report.throughput_sessions import MACHINE, Timing, finished, machines, text, timing, twins
from bench.stats import interquartile_range, median

_RATIO = (
    "median over rounds of the step time relative to the reference's in the same round; the interval lies between "
    f"order statistics and needs 6 rounds; from {FEWEST_PROCESSES} processes on the geometric mean of their medians, "
    "with the t interval over processes"
)
MACHINE_COLUMNS = [
    Column("hardware", "what it was timed on"),
    Column("precision", "arithmetic of the training step"),
    Column("torch", "build of torch"),
]
COLUMNS = [
    *LABEL_COLUMNS,
    Column("step_ms", "median time of one training step, milliseconds", 3),
    Column("step_ms_iqr", "interquartile range of the step times, milliseconds", 3),
    Column("images_per_second", "training images per second at the median step time", 1),
    *interval_columns("ratio", _RATIO, 3),
    Column("noise", "A/A: how far from 1 the interval of the reference's ratio to itself reaches, %", 2),
    Column("rounds", "rounds in which the method was timed"),
    Column("processes", "fresh processes in which those rounds were"),
    Column("passes_per_step", "images sent through the network per training image", 2),
    Column("peak_memory_mib", "most memory allocated on the GPU, MiB", 1),
    Column("joules_per_image", "energy of the whole GPU per training image, idle power included, joules", digits=3),
    *MACHINE_COLUMNS,
    Column("batch_size", "training images per step"),
    *ID_COLUMNS,
]
_WITHIN_NOISE = " ~"


def throughput_table(study: Study, sessions: Sequence[SpeedSession], hardware: str | None = None) -> Table:
    """Build the table from the finished sessions of the study's cells.

    Newer sessions replace older ones that timed other code, or with other settings. Sessions that differ in hardware,
    precision or torch are never merged: each machine has a block of its own, the one with the newest session last.
    hardware: use only sessions whose hardware name contains this text.
    """
    usable = [session for session in finished(sessions, hardware) if not session.begin.get("scaling")]
    rows: list[Record] = []
    notes: list[str] = []
    for cell in study.cells:
        groups = machines([session for session in usable if session.begin.get("cell") == cell.id])
        for place, group in enumerate(groups or [[]]):
            timings = {row.arm: timing(row.arm, group) for row in cell.rows}
            noise = noise_floor(twins(group))
            shown = [row for row in cell.rows if timings[row.arm].rounds or place == max(len(groups) - 1, 0)]
            made = [_record(cell, row, timings, group, noise) for row in shown]
            if not study.planned:
                made.sort(key=lambda record: (not record["rounds"], record["ratio"] or 0.0, str(record["method"])))
            if len(groups) > 1:
                made = [{**record, BLOCK: machine_name(group)} for record in made]
            rows += made
            notes += _cell_notes(cell, group, made, noise, study.reference)
    return Table("throughput", "Throughput", COLUMNS, _fields(study.reference), rows, _notes(notes, study.reference))


def _record(
    cell: Cell, row: Row, timings: dict[str, Timing], sessions: list[SpeedSession], noise: float | None
) -> Record:
    own = timings[row.arm]
    seconds = list(own.rounds.values())
    typical = median(seconds) if seconds else None
    ratio = ratio_of(own, timings[cell.base.arm]) if cell.base is not None else None
    images, memory = number(own.facts.get("images_per_step")), number(own.facts.get("peak_memory"))
    machine = {key: text(sessions[0], key) if sessions and seconds else None for key in MACHINE}
    return {
        **labels(cell, row),
        "step_ms": typical * 1000 if typical else None,
        "step_ms_iqr": interquartile_range(seconds) * 1000 if seconds else None,
        "images_per_second": images / typical if images and typical else None,
        "ratio": ratio.estimate if ratio else None,
        "ratio_low": ratio.low if ratio and row is not cell.base else None,
        "ratio_high": ratio.high if ratio and row is not cell.base else None,
        "noise": noise * 100 if noise is not None and seconds else None,
        "rounds": len(seconds),
        "processes": len({session for session, _ in own.rounds}),
        "passes_per_step": number(own.facts.get("passes_per_step")),
        "peak_memory_mib": memory / 2**20 if memory is not None else None,
        "joules_per_image": number(own.facts.get("joules_per_image")),
        **machine,
        "batch_size": int(images) if images else None,
        **ids(cell, row, _footnotes(own)),
    }


def _footnotes(own: Timing) -> list[str]:
    if skipped := own.facts.get("skipped"):
        return [f"skipped: {' '.join(str(skipped).split())}"]
    if dict(own.facts.get("warm_up") or {}).get("steady") is False:
        return ["step times still changed at the end of the warm-up"]
    return []


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
        Field("J/image", plain("joules_per_image", 4)),
    ]


def _ratio_text(row: Record) -> str:
    if row[IS_BASE] and row["rounds"]:
        return REFERENCE_TEXT
    return marked_ratio(row)


def marked_ratio(row: Record) -> str:
    """A row's ratio with its interval, marked ~ where it is nearer to 1 than the A/A pair's interval reaches."""
    ratio, noise = row["ratio"], row["noise"]
    within = ratio is not None and noise is not None and abs(float(ratio) - 1) * 100 < float(noise)
    return with_interval("ratio", 2)(row) + (_WITHIN_NOISE if within else "")


def machine_name(group: list[SpeedSession]) -> str:
    """Hardware, precision and torch that the sessions of a block share."""
    hardware, precision, torch = (text(group[-1], key) for key in MACHINE)
    return f"{hardware}, {precision}, torch {torch}"


def _cell_notes(
    cell: Cell, group: list[SpeedSession], rows: list[Record], noise: float | None, reference: str
) -> list[str]:
    if not group:
        return []
    batches = sorted({int(row["batch_size"]) for row in rows if row["batch_size"]})
    count = len(group)
    found = [
        f"{cell.title}: timed on {machine_name(group)}, batch {', '.join(map(str, batches))}, in {count} "
        f"process{'es' if count > 1 else ''}."
    ]
    if noise is not None:
        found.append(
            f"{cell.title}: on {text(group[-1], 'hardware')}, differences from {reference} below {noise * 100:.1f} % "
            "are noise (one method timed twice as if it were two); such ratios are marked ~."
        )
    return found


def _notes(of_cells: list[str], reference: str) -> list[str]:
    return [
        "step ms: median over rounds of one whole training step (data, mixing, forward, backward, update); a method's "
        "branches weigh as often as its draws take them.",
        f"time / {reference}: median over rounds of the ratio within a round, interval between order statistics; from "
        f"{FEWEST_PROCESSES} processes on the mean over processes with a t interval. An interval over rounds of fewer "
        "processes does not tell what the next process would give.",
        *sorted(of_cells),
    ]
