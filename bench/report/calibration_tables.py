"""Calibration before and after temperature scaling, selective classification, and the bins of reliability diagrams."""

from __future__ import annotations

import math

from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import method_record, quantity_table, rows_by_accuracy
from bench.report.readings import Readings, Series, ordinal
from bench.report.rows import COUNT_COLUMNS, ID_COLUMNS, LABEL_COLUMNS, METHOD_FIELD
from bench.report.study import Row, Study
from bench.report.table import NOT_MEASURED, Column, Field, Record, Table, fixed, plain
from bench.stats import mean

RAW, SCALED = "", "_scaled"
_WORDS = {RAW: "", SCALED: " after temperature scaling fitted on the validation split"}
_TWICE: dict[str, tuple[str, float, int]] = {
    "ece_15": ("expected calibration error, 15 bins of equal width, %", 100.0, 2),
    "ece_15_floor": ("what ece_15 would be for a perfectly calibrated model of the same confidences, %", 100.0, 2),
    "adaptive_ece_15": ("calibration error, 15 bins of equal counts, %", 100.0, 2),
    "adaptive_ece_15_floor": ("what adaptive_ece_15 would be for a perfectly calibrated model, %", 100.0, 2),
    "confidence_gap": ("mean confidence minus accuracy, points: above 0 is over-confident", 100.0, 2),
    "nll": ("negative log-likelihood on the test images, nats", 1.0, 4),
    "brier": ("Brier score, sum over classes, in [0, 2]", 1.0, 4),
}
_ONCE: dict[str, tuple[str, float, int]] = {
    "temperature": ("temperature fitted on the validation split; below 1 makes the network more certain", 1.0, 3),
    "aurc": ("area under the risk-coverage curve, %", 100.0, 2),
    "risk_at_80_coverage": ("error among the 80 % of images with the highest confidence, %", 100.0, 2),
    "coverage_at_5_risk": ("largest share of images that can be answered with at most 5 % error, %", 100.0, 2),
}


def calibration_quantities(readings: Readings) -> list[Quantity]:
    """All columns of the calibration table that any run has."""
    made: list[Quantity] = []
    for name, (meaning, scale, decimals) in _TWICE.items():
        for ending in (RAW, SCALED):
            for one in _scaled(readings.series(name, "scaled"), ending):
                column = f"{readings.prefix(one)}{name}{ending}"
                made.append(Quantity(column, meaning + _WORDS[ending], one.arm, (one,), scale=scale, decimals=decimals))
    for name, (meaning, scale, decimals) in _ONCE.items():
        for one in readings.bare(name):
            column = f"{readings.prefix(one)}{name}"
            made.append(Quantity(column, meaning, one.arm, (one,), scale=scale, decimals=decimals))
    for one in readings.series("risk_at_coverage", "coverage"):
        column = f"{readings.prefix(one)}risk_at_coverage_{one.text('coverage')}"
        meaning = f"error among the most confident {one.text('coverage')} of the images, %"
        made.append(Quantity(column, meaning, one.arm, (one,), compared=False))
    return measured_only(readings, made)


def calibration_table(study: Study, readings: Readings) -> Table | None:
    """One row a method; None where calibration was not measured."""
    quantities = calibration_quantities(readings)
    if not quantities:
        return None
    notes = [
        "An error near its floor says nothing about calibration; NLL and Brier are the proper scores.",
        "The temperature is fitted on the validation split, never on test.",
    ]
    if not any(one.name.endswith(SCALED) for one in quantities):
        notes.append("After temperature scaling: not measured, there was no validation split.")
    title = "Robustness: calibration"
    return quantity_table(study, readings, "robustness-calibration", title, quantities, _fields(quantities), notes)


def _fields(quantities: list[Quantity]) -> list[Field]:
    """Everything but the risk-coverage curve, which only the CSV has."""
    shown = [one for one in quantities if "risk_at_coverage_" not in one.name]
    return [one.field(one.name.replace("_", " ").replace("ece 15", "ECE-15"), one.decimals or 2) for one in shown]


_BIN_COLUMNS = [
    Column("evaluator", "name of the evaluator's config"),
    Column("bin", "number of the bin of the confidence, from 0"),
    *(
        column
        for ending in (RAW, SCALED)
        for column in (
            Column(f"share{ending}", f"test images in the bin, mean over runs, %{_WORDS[ending]}", 2),
            Column(f"accuracy{ending}", f"top-1 of the bin's images, all runs together, %{_WORDS[ending]}", 2),
            Column(f"confidence{ending}", f"mean confidence of the bin's images, all runs, %{_WORDS[ending]}", 2),
        )
    ),
]


def reliability_table(study: Study, readings: Readings) -> Table | None:
    """One row a method and bin: what the reliability diagrams show. None where it was not measured."""
    bins = [one for one in readings.series("reliability_share", "bin", "scaled") if readings.measured(one)]
    rows: list[Record] = []
    for cell in study.cells:
        for row in rows_by_accuracy(study, cell):
            for arm in dict.fromkeys(one.arm for one in bins):
                places = sorted({one.of("bin") for one in bins if one.arm == arm}, key=ordinal)
                for place in places:
                    record: Record = {"evaluator": arm, "bin": int(place or 0)}
                    for ending in (RAW, SCALED):
                        record |= _bin(row, readings, arm, place, ending)
                    if record["share"] is not None:
                        rows.append(method_record(cell, row, record, []))
    columns = [*LABEL_COLUMNS, *COUNT_COLUMNS, *_BIN_COLUMNS, *ID_COLUMNS]
    fields = [METHOD_FIELD, Field("bin", lambda row: str(row["bin"]))]
    fields += [Field(name, plain(name, 1)) for name in ("share", "accuracy", "confidence")]
    table = Table("robustness-reliability", "Robustness: reliability", columns, fields, rows, on_page=False)
    return table if rows else None


def calibration_text(row: Record) -> str:
    """ECE before and after temperature scaling, such as "12.2 -> 1.6"."""
    raw, scaled = row["ece_15"], row.get("ece_15_scaled")
    if raw is None:
        return NOT_MEASURED
    return fixed(float(raw), 1) + ("" if scaled is None else f" -> {fixed(float(scaled), 1)}")


def _scaled(series: list[Series], ending: str) -> list[Series]:
    return [one for one in series if one.of("scaled") is (ending == SCALED)]


def _bin(row: Row, readings: Readings, arm: str, place: object, ending: str) -> Record:
    """A bin's share, and accuracy and confidence weighted by how many images each run has there."""
    found: dict[str, Series] = {
        name: one
        for name in ("share", "accuracy", "confidence")
        for one in _scaled(readings.series(f"reliability_{name}", "bin", "scaled"), ending)
        if one.arm == arm and one.of("bin") == place
    }
    shares = [
        (run, share)
        for run in row.ok.values()
        if "share" in found and (share := readings.value(run, found["share"])) is not None
    ]
    record: Record = {f"share{ending}": mean([share for _, share in shares]) * 100 if shares else None}
    for name in ("accuracy", "confidence"):
        weighed = [
            (share, value)
            for run, share in shares
            if name in found and (value := readings.value(run, found[name])) is not None
        ]
        total = math.fsum(share for share, _ in weighed)
        shared = math.fsum(share * value for share, value in weighed)
        record[f"{name}{ending}"] = shared / total * 100 if total else None
    return record
