"""The leaderboard: one line a method with accuracy, robustness and cost, joined from the other tables."""

from __future__ import annotations

from bench.report.robustness import Robustness
from bench.report.rows import (
    COUNT_COLUMNS,
    COUNT_FIELD,
    ID_COLUMNS,
    IS_BASE,
    LABEL_COLUMNS,
    METHOD_FIELD,
    REFERENCE_TEXT,
    difference_text,
    interval_columns,
)
from bench.report.table import Column, Field, Record, Table, plain, with_interval

_ENDS = ("", "_low", "_high")

COLUMNS = [
    *LABEL_COLUMNS,
    *COUNT_COLUMNS,
    *interval_columns("top1", "mean test top-1 after the last epoch, %", 2),
    *interval_columns("difference", "top1 minus that of the reference method, paired by seed, points", 2),
    *interval_columns("corruption_mean", "mean top-1 over all corruptions and severities, %", 2),
    *interval_columns("corruption_difference", "the same minus the reference, paired by seed, points", 2),
    *interval_columns("fgsm_mean", "mean top-1 over all FGSM radii, %", 2),
    *interval_columns("ratio", "step time relative to the reference's", 3),
    Column("peak_memory_mib", "most memory allocated on the GPU, MiB", 1),
    Column("passes_per_step", "images sent through the network per training image", 2),
    *ID_COLUMNS,
]


def leaderboard_table(accuracy: Table, robustness: Robustness, throughput: Table, reference: str) -> Table:
    """Join the three tables by arm, in the order of the accuracy table."""
    robust = {str(row["arm"]): row for row in robustness.table.rows}
    speed = {str(row["arm"]): row for row in throughput.rows}
    rows: list[Record] = []
    for row in accuracy.rows:
        arm = str(row["arm"])
        joined = {**row}
        joined |= _first(robust[arm], robustness.corruption_means, "", "corruption_mean")
        joined |= _first(robust[arm], robustness.corruption_means, "_difference", "corruption_difference")
        joined |= _first(robust[arm], robustness.attack_means, "", "fgsm_mean")
        joined |= {name: speed[arm][name] for name in ("ratio", "ratio_low", "ratio_high")}
        joined |= {name: speed[arm][name] for name in ("peak_memory_mib", "passes_per_step")}
        rows.append(joined)
    notes = ["Corruption and FGSM columns are means over their conditions; see the robustness table."]
    return Table("leaderboard", "Leaderboard", COLUMNS, _fields(reference), rows, notes)


def _first(row: Record, means: list[str], suffix: str, name: str) -> Record:
    """The columns of the first family that has a value in this row."""
    source = next((mean for mean in means if row[mean] is not None), None)
    return {f"{name}{end}": row[f"{source}{suffix}{end}"] if source else None for end in _ENDS}


def _fields(reference: str) -> list[Field]:
    ratio = with_interval("ratio", 2)
    return [
        METHOD_FIELD,
        COUNT_FIELD,
        Field("top-1 %", plain("top1", 2)),
        Field(f"minus {reference} [95 %]", difference_text("difference", 2)),
        Field("corrupted %", plain("corruption_mean", 2)),
        Field(f"minus {reference} [95 %]", difference_text("corruption_difference", 2)),
        Field("FGSM %", plain("fgsm_mean", 2)),
        Field(f"time / {reference} [95 %]", lambda row: REFERENCE_TEXT if row[IS_BASE] else ratio(row)),
        Field("passes/step", plain("passes_per_step", 2)),
    ]
