"""Where the time of a step goes: the separate eager pass of the timing sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.records import SpeedSession
from bench.report.measurements import number
from bench.report.rows import ID_COLUMNS, LABEL_COLUMNS, METHOD_FIELD, ids, interval_columns, labels
from bench.report.study import Cell, Row, Study
from bench.report.table import BLOCK, Column, Field, Record, Table, plain, with_interval
from bench.report.throughput import MACHINE_COLUMNS, machine_name
from bench.report.throughput_sessions import MACHINE, finished, machines, text
from bench.stats import median, median_interval

PHASES = {
    "data": "the next batch, cropped and flipped",
    "mixing": "the method's draws and views",
    "forward": "forward pass with loss and mixing of features",
    "backward": "backward pass",
    "optimiser": "the whole update",
    "other": "everything between them",
}
_NETWORK = ("forward", "backward", "optimiser")
COLUMNS = [
    *LABEL_COLUMNS,
    *(
        Column(f"{name}_ms", f"{meaning}, milliseconds of a step in the eager pass", 3)
        for name, meaning in PHASES.items()
    ),
    Column("eager_step_ms", "the whole step in the same pass, milliseconds", 3),
    *interval_columns("outside", "share of that step outside forward, backward and optimiser, %", 2),
    Column("split_rounds", "rounds of the eager pass"),
    *MACHINE_COLUMNS,
    *ID_COLUMNS,
]


def split_table(study: Study, sessions: Sequence[SpeedSession], hardware: str | None = None) -> Table | None:
    """A row for each method whose steps were split; None where no session has such a pass."""
    usable = [session for session in finished(sessions, hardware) if not session.begin.get("scaling")]
    rows: list[Record] = []
    for cell in study.cells:
        groups = machines([session for session in usable if session.begin.get("cell") == cell.id])
        for group in groups:
            made = [_record(cell, row, group, split) for row in cell.rows if (split := _split(row.arm, group))]
            rows += [{**record, BLOCK: machine_name(group)} for record in made] if len(groups) > 1 else made
    fields = [
        METHOD_FIELD,
        *(Field(f"{name} ms", plain(f"{name}_ms", 2)) for name in PHASES),
        Field("step ms", plain("eager_step_ms", 2)),
        Field("outside % [95 %]", with_interval("outside", 1)),
    ]
    notes = [
        "A separate eager pass over the trainer's own steps, after warm-up and before the rounds: medians over its "
        "rounds, so that the parts need not add up to the step. Not the times of the throughput table where steps are "
        "compiled.",
        "outside: share of the step outside forward, backward and optimiser. For the reference it is the harness's "
        "overhead, for others the mixing of images too.",
    ]
    return Table("throughput-split", "Where a step's time goes", COLUMNS, fields, rows, notes) if rows else None


def _split(arm: str, sessions: Sequence[SpeedSession]) -> dict[str, list[float]]:
    """Seconds by phase, a number a round; empty where some phase is missing."""
    found: dict[str, list[float]] = {name: [] for name in PHASES}
    for session in sessions:
        split: dict[str, Any] = dict(session.arms.get(arm, {}).get("split") or {})
        rounds = [[number(value) for value in list[Any](split.get(name) or [])] for name in PHASES]
        for values in zip(*rounds, strict=False):
            known = [value for value in values if value is not None]
            if len(known) == len(values) and sum(known) > 0:
                for name, value in zip(PHASES, known, strict=True):
                    found[name].append(value)
    return found if all(found.values()) else {}


def _record(cell: Cell, row: Row, group: list[SpeedSession], split: dict[str, list[float]]) -> Record:
    whole = [sum(values) for values in zip(*split.values(), strict=True)]
    network = [sum(values) for values in zip(*(split[name] for name in _NETWORK), strict=True)]
    outside = [100 * (1 - part / total) for part, total in zip(network, whole, strict=True)]
    interval = median_interval(outside)
    return {
        **labels(cell, row),
        **{f"{name}_ms": median(values) * 1000 for name, values in split.items()},
        "eager_step_ms": median(whole) * 1000,
        "outside": median(outside),
        "outside_low": interval.low if interval else None,
        "outside_high": interval.high if interval else None,
        "split_rounds": len(whole),
        **{key: text(group[-1], key) for key in MACHINE},
        **ids(cell, row, []),
    }
