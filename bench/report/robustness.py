"""The robustness table: accuracy on corrupted and on attacked test images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.report.measurements import Family, by_seed, families, family_values, last_top1
from bench.report.rows import (
    COUNT_COLUMNS,
    COUNT_FIELD,
    ID_COLUMNS,
    LABEL_COLUMNS,
    METHOD_FIELD,
    Differences,
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
from bench.report.table import Column, Field, Record, Table, plain, with_interval
from bench.stats import mean, mean_interval

MEAN = "mean"
"""Name of the condition that is the mean of a family's other conditions."""


@dataclass(frozen=True)
class Robustness:
    """The table and the names of its families' mean columns, corruptions first."""

    table: Table
    corruption_means: list[str]
    attack_means: list[str]


def robustness_table(study: Study) -> Robustness:
    """Build the table from a study: a group of columns for each evaluator arm, each condition and their mean."""
    corruptions = families(study.cells, "corruption_top1", "corruption", "corruption")
    attacks = families(study.cells, "fgsm_top1", "eps_255", "fgsm")
    groups = [*corruptions, *attacks]
    rows: list[Record] = []
    notes = _notes(groups)
    for cell in study.cells:
        compared = {family.name: _compare(family, cell) for family in groups}
        notes += [
            f"{cell.title}: seed spreads of {family.name} differ between methods, so each difference uses its own."
            for family in groups
            if not compared[family.name][MEAN].pooled
        ]
        top1 = {row.arm: by_seed(row.ok, last_top1) for row in cell.rows}
        means = {arm: mean(list(values.values())) if values else None for arm, values in top1.items()}
        for row in ordered_rows(study, cell, means):
            record = {**labels(cell, row), **counts(row)}
            for family in groups:
                for condition, difference in compared[family.name].items():
                    record |= _record(f"{family.name}_{condition}", row, difference)
                record[f"{family.name}_runs"] = len(compared[family.name][MEAN].measured[row.arm])
            rows.append({**record, **ids(cell, row, [*row_footnotes(row), *_unmeasured(row, record, groups)])})
    columns = [
        *LABEL_COLUMNS,
        *COUNT_COLUMNS,
        *(column for family in groups for column in _columns(family)),
        *ID_COLUMNS,
    ]
    names = [[f"{family.name}_{MEAN}" for family in group] for group in (corruptions, attacks)]
    table = Table("robustness", "Robustness", columns, _fields(groups, study.reference), rows, notes)
    return Robustness(table, *names)


def _compare(family: Family, cell: Cell) -> dict[str, Differences]:
    values = {row.arm: {seed: family_values(family, run) for seed, run in row.ok.items()} for row in cell.rows}
    for by_condition in (found for runs in values.values() for found in runs.values()):
        if len(by_condition) == len(family.conditions):
            by_condition[MEAN] = math.fsum(by_condition.values()) / len(by_condition)
    return {
        condition: differences(cell, {arm: _condition(runs, condition) for arm, runs in values.items()})
        for condition in [MEAN, *family.conditions]
    }


def _unmeasured(row: Row, record: Record, groups: list[Family]) -> list[str]:
    """Which means rest on fewer runs than ended ok."""
    ok = len(row.ok)
    counts = {family.name: int(record[f"{family.name}_runs"] or 0) for family in groups}
    return [f"{name}: {count} of {ok} ok runs measured" for name, count in counts.items() if 0 < count < ok]


def _condition(runs: Mapping[int, Mapping[str, float]], condition: str) -> dict[int, float]:
    return {seed: found[condition] for seed, found in runs.items() if condition in found}


def _record(name: str, row: Row, difference: Differences) -> Record:
    values = list(difference.measured[row.arm].values())
    return {
        **interval_values(name, mean_interval(values), 100, mean(values) if values else None),
        **difference.record(f"{name}_difference", row),
    }


def _columns(family: Family) -> list[Column]:
    columns = [Column(f"{family.name}_runs", f"ok runs with all conditions of: {family.title}")]
    for condition in [MEAN, *family.conditions]:
        name = f"{family.name}_{condition}"
        columns += interval_columns(name, f"mean top-1 under {name}, %; t interval from the row's own seeds", 2)
        columns += interval_columns(f"{name}_difference", "the same minus the reference, paired by seed, points", 2)
    return columns


def _fields(groups: list[Family], reference: str) -> list[Field]:
    fields = [METHOD_FIELD, COUNT_FIELD]
    for family in groups:
        name = f"{family.name}_{MEAN}"
        fields.append(Field(f"{family.name} %", plain(name, 2), where="terminal"))
        fields.append(Field(f"{family.name} mean % [95 %]", with_interval(name, 2), where="markdown"))
        fields.append(Field(f"minus {reference} [95 %]", difference_text(f"{name}_difference", 2)))
    for family in groups:
        for condition in family.conditions:
            fields.append(Field(f"{family.name} {condition}", plain(f"{family.name}_{condition}", 1), where="markdown"))
    return fields


def _notes(groups: list[Family]) -> list[str]:
    if not groups:
        return ["Corrupted and attacked images: not measured."]
    notes = [f"{family.name}: {family.title}; {len(family.conditions)} conditions." for family in groups]
    return [
        *notes,
        "Mean accuracy in % over the conditions. Mixing is no defence: no method is trained on attacks.",
    ]
