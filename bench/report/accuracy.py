"""The accuracy table: clean test accuracy after the last epoch, with its spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.report.measurements import best_top1, by_seed, clean_metrics, diagnostic
from bench.report.rows import (
    COUNT_COLUMNS,
    COUNT_FIELD,
    ID_COLUMNS,
    LABEL_COLUMNS,
    METHOD_FIELD,
    counts,
    difference_text,
    differences,
    ids,
    interval_columns,
    interval_values,
    labels,
    ordered_rows,
    row_footnotes,
)
from bench.report.study import Cell, Row, Study
from bench.report.table import NOT_APPLICABLE, Column, Field, Record, Table, fixed, plain, with_interval
from bench.stats import mean, mean_interval, sd, seed_correlation, seed_variance

COLUMNS = [
    *LABEL_COLUMNS,
    *COUNT_COLUMNS,
    *interval_columns("top1", "mean test top-1 after the last epoch, %; t interval from the row's own seeds", 2),
    Column("top1_sd", "standard deviation of top1 over seeds, points", 2),
    *interval_columns("difference", "top1 minus that of the reference method, paired by seed, points", 2, df=True),
    Column("top5", "mean test top-5, %", 2),
    Column("nll", "mean negative log-likelihood on the test images, nats", 4),
    Column("ece", "expected calibration error, 15 bins, %", 2),
    Column("ece_floor", "what ece would be for a perfectly calibrated model of the same confidences, %", 2),
    Column(
        "best_epoch_selected_on_test", "mean of each run's highest test top-1, %: selected on test, not for ranking", 2
    ),
    Column(
        "alignment_effect_to_first",
        "relative change of the logits when the alignment is left out, first direction",
        digits=3,
    ),
    Column("alignment_effect_to_second", "the same in the other direction", digits=3),
    *ID_COLUMNS,
]
_ALIGNMENT = ("alignment_effect_to_first", "alignment_effect_to_second")
_SCALARS = {
    "top5": ("top5", 100.0),
    "nll": ("nll", 1.0),
    "ece": ("ece_15", 100.0),
    "ece_floor": ("ece_15_floor", 100.0),
}


def accuracy_table(study: Study) -> Table:
    """Build the table from a study."""
    rows: list[Record] = []
    notes: list[str] = []
    for cell in study.cells:
        top1 = {row.arm: row.top1 for row in cell.rows}
        compared = differences(cell, top1, cell.variance)
        notes += _spread(cell, top1)
        if not compared.pooled:
            notes.append(
                f"{cell.title}: seed spreads of top-1 differ between methods, so each difference uses its own."
            )
        if cell.base is None:
            notes.append(f"{cell.title}: no runs of {study.reference}, so there are no differences to it.")
        means = {arm: mean(list(values.values())) if values else None for arm, values in top1.items()}
        for row in ordered_rows(study, cell, means):
            values = list(top1[row.arm].values())
            rows.append(
                {
                    **labels(cell, row),
                    **counts(row),
                    **interval_values("top1", mean_interval(values), 100, means[row.arm]),
                    "top1_sd": sd(values) * 100 if len(values) > 1 else None,
                    **compared.record("difference", row, df=True),
                    **_scalars(row),
                    "best_epoch_selected_on_test": _scaled([*by_seed(row.ok, best_top1).values()], 100),
                    **_alignment(row),
                    **ids(cell, row, [*row_footnotes(row), *_unmeasured(row, len(values))]),
                }
            )
    return Table("accuracy", "Accuracy", COLUMNS, _fields(study.reference), rows, [*_explanation(study, rows), *notes])


def _scalars(row: Row) -> Record:
    runs = [clean_metrics(run, [metric for metric, _ in _SCALARS.values()]) for run in row.ok.values()]
    return {
        name: _scaled([value for one in runs if (value := one[place]) is not None], scale)
        for place, (name, (_, scale)) in enumerate(_SCALARS.items())
    }


def _scaled(values: Sequence[float], scale: float) -> float | None:
    return mean(values) * scale if values else None


def _unmeasured(row: Row, measured: int) -> list[str]:
    absent = len(row.ok) - measured
    return [f"{absent} ok run(s) without a test accuracy after the last epoch"] if absent else []


def _alignment(row: Row) -> Record:
    told = [run for run in row.ok.values() if run.diagnostics]
    return {
        name: _scaled([value for run in told if (value := diagnostic(run, name)) is not None], 1.0)
        for name in _ALIGNMENT
    }


def _fields(reference: str) -> list[Field]:
    return [
        METHOD_FIELD,
        COUNT_FIELD,
        Field("top-1 % [95 %]", with_interval("top1", 2)),
        Field(f"minus {reference} [95 %]", difference_text("difference", 2)),
        Field("top-5 %", plain("top5", 2), where="markdown"),
        Field("NLL", plain("nll", 3)),
        Field("ECE % (floor)", _calibration),
        Field("alignment", _alignment_text),
        Field("best epoch", plain("best_epoch_selected_on_test", 2)),
    ]


def _calibration(row: Record) -> str:
    text = plain("ece", 1)(row)
    return text if row["ece"] is None or row["ece_floor"] is None else f"{text} ({plain('ece_floor', 1)(row)})"


def _alignment_text(row: Record) -> str:
    effects = [row[name] for name in _ALIGNMENT]
    if all(effect is None for effect in effects):
        return NOT_APPLICABLE
    return " / ".join(NOT_APPLICABLE if effect is None else f"{float(effect):.2g}" for effect in effects)


def _explanation(study: Study, rows: list[Record]) -> list[str]:
    notes = [
        "top-1: mean over seeds after the last epoch, with a t interval from the row's own seeds.",
        f"minus {study.reference}: paired by seed; t interval from the seed variance pooled over the methods of the "
        "cell, not corrected for the number of methods.",
        "best epoch: each run's highest, selected on the test set; not for ranking.",
    ]
    if any(row[name] is not None for row in rows for name in _ALIGNMENT):
        notes.append("alignment: relative change of the logits without it, towards the first / second image.")
    return notes


def _spread(cell: Cell, top1: dict[str, dict[int, float]]) -> list[str]:
    """How far seeds scatter, and what pairing them gains."""
    single, paired = seed_variance(top1), cell.variance
    if single is None or paired is None:
        return []
    text = (
        f"seed spread {math.sqrt(single.value) * 100:.2f} points, {math.sqrt(paired.value) * 100:.2f} with seeds paired"
    )
    correlation = seed_correlation(paired, single)
    gain = "" if correlation is None else f", correlation between methods {fixed(correlation, 2)}"
    return [f"{cell.title}: {text} ({paired.df} degrees of freedom){gain}."]
