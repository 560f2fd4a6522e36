"""The table of attacks: curves over strengths, legacy columns, and the checks for gradient masking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from bench.report.attacks import (
    attack_quantities,
    check_text,
    gap_quantities,
    legacy_mean,
    legacy_quantities,
    masking_checks,
    masking_values,
    noise_quantities,
    perturbation_quantities,
)
from bench.report.gradient_masking import masking_notes
from bench.report.quantity import Quantity, arms_of, measured_only
from bench.report.quantity_table import Further, quantity_table
from bench.report.readings import Readings, Series
from bench.report.study import Study
from bench.report.table import NOT_MEASURED, Column, Field, Record, Table

NO_DEFENCE = "Mixers are regularisers, not defences; there is no adversarial training here."


def adversarial_table(study: Study, readings: Readings) -> Table | None:
    """One row a method; None where no attack was measured."""
    legacy = legacy_quantities(readings).items()
    quantities = measured_only(
        readings,
        [
            *attack_quantities(readings), *noise_quantities(readings),
            *gap_quantities(readings), *perturbation_quantities(readings), *masking_values(readings),
            *(one for label, found in legacy for one in (legacy_mean(label, found), *found)),
        ],
    )  # fmt: skip
    if not quantities:
        return None
    checks = masking_checks(readings)
    further = Further(
        after=[_check_column(name, one) for name, one in checks.items()],
        values=lambda row: {name: check_text(readings, row, one) for name, one in checks.items()},
        notes=lambda cell: masking_notes(cell, readings),
    )
    fields = [*_fields(quantities), *(_check_field(name) for name in checks)]
    notes = [NO_DEFENCE, *_settings(readings, quantities)]
    title = "Robustness: attacks"
    return quantity_table(study, readings, "robustness-adversarial", title, quantities, fields, notes, further)


def _fields(quantities: list[Quantity]) -> list[Field]:
    return [one.field(_heading(one)) for one in quantities if not one.name.endswith("_mean")]


def _heading(quantity: Quantity) -> str:
    """The column's name with spaces; a size of the L-inf norm reads as a fraction of 255."""
    series = quantity.parts[0]
    text = quantity.name.replace("_", " ")
    if len(quantity.parts) == 1 and series.of("norm") == "linf" and "eps" in series.keys:
        return text.replace("linf ", "") + "/255"
    if series.metric == "fgsm_top1":
        return f"{text}/255"
    return text


def _check_column(name: str, series: Series) -> Column:
    rest = ", ".join(f"{key} {value}" for key, value in series.detail if key != "check")
    return Column(name, f"check for gradient masking, {series.text('check')} ({rest}): passed, FAILED, or not measured")


def _check_field(name: str) -> Field:
    return Field(name.replace("_", " "), _text_of(name), left=True, where="markdown")


def _text_of(name: str) -> Callable[[Record], str]:
    return lambda row: str(row[name]) if row[name] is not None else NOT_MEASURED


def _settings(readings: Readings, quantities: list[Quantity]) -> list[str]:
    """The numbers that an attack's arm was given: steps, restarts, images."""
    notes: list[str] = []
    for arm in arms_of(quantities):
        settings = readings.sources[arm].settings
        told = [f"{name} {_plain(value)}" for name, value in sorted(settings.items()) if _is_told(name, value)]
        if told:
            notes.append(f"{arm}, settings: {', '.join(told)}.")
    return notes


def _is_told(name: str, value: Any) -> bool:
    return name != "batch_size" and isinstance(value, bool | int | float | list)


def _plain(value: Any) -> str:
    return " ".join(str(one) for one in cast("list[Any]", value)) if isinstance(value, list) else str(value)
