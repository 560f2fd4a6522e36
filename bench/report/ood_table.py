"""Out-of-distribution detection by score and data set."""

from __future__ import annotations

from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import quantity_table
from bench.report.readings import Readings, Series
from bench.report.study import Study
from bench.report.table import Table

SCORES = ("msp", "energy", "max_logit")
KINDS = ("near", "far")
POSITIVE = "Out-of-distribution images are the positive class."
_MEASURES = {
    "auroc": "area under the ROC curve",
    "fpr95": "share of test images taken for out-of-distribution where 95 % of those are found",
    "aupr_out": "area under the precision-recall curve, out-of-distribution images positive",
    "aupr_in": "area under the precision-recall curve, test images positive",
}


def ood_means(readings: Readings) -> list[Quantity]:
    """Mean AUROC over the near and over the far sets, for each score."""
    made: list[Quantity] = []
    for kind in KINDS:
        for score in SCORES:
            for one in readings.series("ood_auroc_mean", "kind", "score"):
                if (one.of("kind"), one.of("score")) == (kind, score):
                    name = f"{readings.prefix(one)}auroc_{score}_{kind}"
                    meaning = f"out-of-distribution detection by {score}: mean AUROC over the {kind} sets, %"
                    made.append(Quantity(name, meaning, one.arm, (one,)))
    return measured_only(readings, made)


def ood_table(study: Study, readings: Readings) -> Table | None:
    """One row a method; None where no detection was measured."""
    means, single = ood_means(readings), _single(readings)
    quantities = [*means, *single]
    if not quantities:
        return None
    notes = [
        f"{POSITIVE} FPR95 is the error on test images where 95 % of the others are found; lower is better.",
        "Energy depends on the scale of the logits, which mixing changes: read it beside MSP.",
    ]
    shown = [*means, *(one for one in single if one.parts[0].metric in ("ood_auroc", "ood_fpr95"))]
    fields = [one.field(_heading(one)) for one in shown]
    return quantity_table(study, readings, "robustness-ood", "Robustness: OOD detection", quantities, fields, notes)


def _single(readings: Readings) -> list[Quantity]:
    made: list[Quantity] = []
    for measure, meaning in _MEASURES.items():
        for one in sorted(readings.series(f"ood_{measure}", "kind", "score", "set"), key=_place):
            score, kind, name = (one.text(key) for key in ("score", "kind", "set"))
            column = f"{readings.prefix(one)}{measure}_{score}_{kind}_{name}"
            made.append(Quantity(column, f"{meaning}; score {score}, {kind} set {name}, %", one.arm, (one,)))
    return measured_only(readings, made)


def _place(series: Series) -> tuple[bool, str, int, str]:
    """Near sets before far ones, and of each set the scores in their usual order."""
    score = series.text("score")
    known = SCORES.index(score) if score in SCORES else len(SCORES)
    return series.of("kind") != KINDS[0], series.text("set"), known, series.arm


def _heading(quantity: Quantity) -> str:
    measure, _, rest = quantity.name.partition("_")
    names = {"auroc": "AUROC", "fpr95": "FPR95"}
    return f"{names.get(measure, measure)} {rest.replace('_', ' ')}"
