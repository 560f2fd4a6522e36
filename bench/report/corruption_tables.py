"""Accuracy under every single corruption, and at every severity."""

from __future__ import annotations

from bench.report.corruption_sets import SEVERITIES, CorruptionSet
from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import method_record, quantity_table, rows_by_accuracy
from bench.report.readings import Readings
from bench.report.rows import (
    COUNT_COLUMNS,
    ID_COLUMNS,
    LABEL_COLUMNS,
    METHOD_FIELD,
    interval_columns,
    interval_values,
)
from bench.report.study import Row, Study
from bench.report.table import Column, Field, Record, Table, plain
from bench.stats import mean, mean_interval

_ABBREVIATED = {
    "gaussian_noise": "gauss. noise", "shot_noise": "shot", "impulse_noise": "impulse", "defocus_blur": "defocus",
    "glass_blur": "glass", "motion_blur": "motion", "zoom_blur": "zoom", "elastic_transform": "elastic",
    "jpeg_compression": "jpeg", "speckle_noise": "speckle*", "gaussian_blur": "gauss. blur*", "spatter": "spatter*",
    "saturate": "saturate*",
}  # fmt: skip


def corruptions_table(study: Study, readings: Readings, sets: list[CorruptionSet]) -> Table | None:
    """One column a corruption, and the means over the 15 and over the 4 apart; None where nothing was measured."""
    quantities: list[Quantity] = []
    fields: list[Field] = []
    for found in sets:
        single = measured_only(readings, found.all)
        means = measured_only(readings, [one for one in (found.mean, found.extra_mean, found.error) if one])
        quantities += [*means, *found.against_alexnet(readings), *single, *found.errors_against_alexnet(readings)]
        before = "" if len(sets) == 1 else f"{found.label} "
        headings = {"mean": f"mean of {len(found.counted)}", "extra_mean": f"mean of {len(found.extra)}*"}
        headings |= {name: heading_of(name, found) for name in [*found.counted, *found.extra]}
        for one in [*means, *single]:
            ending = one.name.removeprefix(f"{found.label}_")
            if ending in headings:
                fields.append(one.field(before + headings[ending]))
    if not quantities:
        return None
    title = "Robustness: accuracy under each corruption"
    return quantity_table(study, readings, "robustness-corruptions", title, quantities, fields, _notes(sets))


def heading_of(corruption: str, found: CorruptionSet) -> str:
    """A short heading; a star marks the extra corruptions."""
    if not found.source:
        return corruption
    return _ABBREVIATED.get(corruption, corruption)


def _notes(sets: list[CorruptionSet]) -> list[str]:
    notes = ["Accuracy in %, not error; each corruption is the mean over its severities."]
    notes += [f"{found.label}: {found.description}." for found in sets]
    if any("frost" in found.counted and found.source not in ("", "files") for found in sets):
        notes.append("Frost uses procedural pictures here, not the photographs of the published files.")
    if any(found.extra for found in sets):
        notes.append("A star marks the extra corruptions, which are in no mean but their own.")
    return notes


_SEVERITY_COLUMNS = [
    Column("corruption", "name of the corruption"),
    Column("counted", "yes where it is in the mean, no for an extra corruption"),
    Column("source", "where the corrupted images come from"),
    Column("evaluator", "name of the evaluator's config"),
    *(
        column
        for severity in SEVERITIES
        for column in interval_columns(f"severity_{severity}", f"top-1 at severity {severity}, %", 2)
    ),
]


def severities_table(study: Study, readings: Readings, sets: list[CorruptionSet]) -> Table | None:
    """One row a method and corruption, a column a severity; too long for the Markdown page."""
    rows: list[Record] = []
    for cell in study.cells:
        for row in rows_by_accuracy(study, cell):
            for found in sets:
                for corruption in [*found.counted, *found.extra]:
                    record = _by_severity(found, corruption, row, readings)
                    if any(record[f"severity_{severity}"] is not None for severity in SEVERITIES):
                        rows.append(method_record(cell, row, record, []))
    columns = [*LABEL_COLUMNS, *COUNT_COLUMNS, *_SEVERITY_COLUMNS, *ID_COLUMNS]
    fields = [METHOD_FIELD, Field("corruption", lambda row: str(row["corruption"]), left=True)]
    fields += [Field(str(severity), plain(f"severity_{severity}", 1)) for severity in SEVERITIES]
    table = Table("robustness-severities", "Robustness: severities", columns, fields, rows, _notes(sets), on_page=False)
    return table if rows else None


def _by_severity(found: CorruptionSet, corruption: str, row: Row, readings: Readings) -> Record:
    counted = corruption in found.counted
    grid = (found.counted if counted else found.extra)[corruption]
    record: Record = {
        "corruption": corruption,
        "counted": "yes" if counted else "no",
        "source": found.source,
        "evaluator": found.arm,
    }
    for severity in SEVERITIES:
        known = [readings.value(run, grid[severity]) for run in row.ok.values()] if severity in grid else []
        values = [value for value in known if value is not None]
        estimate = mean(values) if values else None
        record |= interval_values(f"severity_{severity}", mean_interval(values), 100, estimate)
    return record
