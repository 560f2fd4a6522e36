"""How step times and ratios change with batch size, image size and the number of positions that are aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from bench.records import SpeedSession
from bench.report.measurements import number
from bench.report.rows import ID_COLUMNS, IS_BASE, LABEL_COLUMNS, REFERENCE_TEXT, ids, interval_columns, labels
from bench.report.study import Cell, Study
from bench.report.table import NOT_APPLICABLE, Column, Field, Record, Table, plain
from bench.report.throughput import MACHINE_COLUMNS, marked_ratio
from bench.report.throughput_ratio import noise_floor, ratio_of
from bench.report.throughput_sessions import MACHINE, finished, machines, text, timing, twins
from bench.stats import median

AXES = ("batch_size", "resolution", "stage")
"""What is varied, as `begin.scaling.axis` names it, in the order of the table."""
_NAMES = {"batch_size": "batch size", "resolution": "image size", "stage": "positions"}
COLUMNS = [
    *LABEL_COLUMNS,
    Column("axis", "what is varied: batch_size, resolution (pixels a side) or stage (whose map is mixed)"),
    Column("value", "its value"),
    Column("batch_size", "training images per step"),
    Column("resolution", "height and width of the images, pixels"),
    Column("positions", "positions n of the map that is mixed, where the method mixes one"),
    Column("step_ms", "median time of one training step, milliseconds", 3),
    Column("images_per_second", "training images per second at the median step time", 1),
    *interval_columns("ratio", "step time relative to the reference's at the same value, as in throughput.csv", 3),
    Column("noise", "A/A: how far from 1 the interval of the reference's ratio to itself reaches, %", 2),
    *MACHINE_COLUMNS,
    *ID_COLUMNS,
]


def scaling_table(study: Study, sessions: Sequence[SpeedSession], hardware: str | None = None) -> Table | None:
    """A row for each method and value of each axis that was timed; None where none was.

    Methods are matched with the rows of the cell by their label, since a changed batch is another spec. Of several
    machines or builds the one with the newest session is shown at each value.
    """
    rows: list[Record] = []
    left_out: list[str] = []
    usable = finished(sessions, hardware)
    for cell in study.cells:
        points: dict[tuple[int, float], list[SpeedSession]] = {}
        for session in usable:
            point = _point(session, cell.id)
            if point is not None:
                points.setdefault(point, []).append(session)
        for (axis, value), found in sorted(points.items()):
            group = machines(found)[-1]
            rows += _rows(cell, AXES[axis], value, group)
            left_out += _left_out(cell, AXES[axis], value, group)
    reference = study.reference
    fields = [
        Field("method", lambda row: str(row["method"]), left=True),
        Field("varied", lambda row: f"{_NAMES[str(row['axis'])]}", left=True),
        Field("value", _value_text),
        Field("n", lambda row: NOT_APPLICABLE if row["positions"] is None else str(row["positions"])),
        Field("step ms", plain("step_ms", 2)),
        Field("images/s", plain("images_per_second", 0)),
        Field(f"time / {reference} [95 %]", lambda row: REFERENCE_TEXT if row[IS_BASE] else marked_ratio(row)),
    ]
    notes = [
        "Each value was timed in a session of its own, on all training images of the data; ratios are within a "
        "session. n: positions of the map that is mixed; there the value is the stage. ~: no further from 1 than the "
        f"interval of {reference} against itself in the same session.",
        *left_out,
    ]
    return Table("throughput-scaling", "Scaling of step times", COLUMNS, fields, rows, notes) if rows else None


def _point(session: SpeedSession, cell: str) -> tuple[int, float] | None:
    """Place of the axis and value of a scaling session of this cell."""
    scaling = session.begin.get("scaling")
    if not isinstance(scaling, dict):
        return None
    fields = cast("dict[str, Any]", scaling)
    axis, value = fields.get("axis"), number(fields.get("value"))
    return (AXES.index(axis), value) if fields.get("of") == cell and axis in AXES and value is not None else None


def _rows(cell: Cell, axis: str, value: float, group: list[SpeedSession]) -> list[Record]:
    by_label = {row.labels.method: row for row in cell.rows}
    arms = {str(line.get("label")): arm for one in group for arm, line in one.arms.items()}
    base = timing(arms[label], group) if cell.base and (label := cell.base.labels.method) in arms else None
    noise = noise_floor(twins(group))
    made: list[Record] = []
    for label, row in by_label.items():
        own = timing(arms[label], group) if label in arms else None
        if own is None or not own.rounds:
            continue
        typical = median(list(own.rounds.values()))
        ratio = ratio_of(own, base) if base is not None else None
        images, positions = number(own.facts.get("images_per_step")), number(own.facts.get("positions"))
        resolution = number(group[-1].begin.get("resolution"))
        shown = ratio if row is not cell.base else None
        made.append({
            **labels(cell, row), "axis": axis, "value": int(value), "batch_size": int(images) if images else None,
            "resolution": int(resolution) if resolution else None, "positions": int(positions) if positions else None,
            "step_ms": typical * 1000, "images_per_second": images / typical if images else None,
            "ratio": ratio.estimate if ratio else None, "ratio_low": shown.low if shown else None,
            "ratio_high": shown.high if shown else None, "noise": noise * 100 if noise is not None else None,
            **{key: text(group[-1], key) for key in MACHINE}, **ids(cell, row, []),
        })  # fmt: skip
    return made


def _left_out(cell: Cell, axis: str, value: float, group: list[SpeedSession]) -> list[str]:
    """Why methods of the cell have no row at a value, from the newest session."""
    shown = {row.labels.method for row in cell.rows}
    return [
        f"{cell.title}, {_NAMES[axis] if axis != 'stage' else axis} {value:g}: {line['label']} was left out: "
        f"{' '.join(str(line['skipped']).split())}."
        for line in group[-1].arms.values()
        if line.get("skipped") and line.get("label") in shown
    ]


def _value_text(row: Record) -> str:
    return f"stage {row['value']}" if row["axis"] == "stage" else str(row["value"])
