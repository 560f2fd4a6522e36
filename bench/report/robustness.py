"""The summary of robustness: one row a method, from the means of every evaluation that was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.adversarial_table import NO_DEFENCE
from bench.report.attacks import (
    ATTACKS,
    FAILED,
    NORMS,
    PASSED,
    attack_quantities,
    check_text,
    legacy_mean,
    legacy_quantities,
    masking_checks,
    perturbation_quantities,
)
from bench.report.calibration_tables import calibration_quantities, calibration_text
from bench.report.corruption_sets import CorruptionSet
from bench.report.ood_table import POSITIVE, ood_means
from bench.report.quantity import Quantity, measured_only
from bench.report.quantity_table import Further, quantity_table
from bench.report.readings import Readings, ordinal
from bench.report.rows import difference_text, interval_columns, interval_values
from bench.report.shift_table import consistency_means, occlusion_means
from bench.report.study import Row, Study
from bench.report.table import NOT_MEASURED, Column, Field, Record, Table, plain, with_interval
from bench.stats import mean, mean_interval

_CALIBRATION = ("ece_15", "ece_15_floor", "aurc")
_NOISE, _FAR = "corruption_family_noise", "auroc_msp_far"
_CHECKS = [
    Column("masking_checks_passed", "checks for gradient masking that no run of the row failed"),
    Column("masking_checks_measured", "checks for gradient masking that were made"),
]


@dataclass(frozen=True)
class Robustness:
    """The table, the names of the mean columns over corruptions and over FGSM radii, and APGD's worst case by size.

    apgd: the size that a leaderboard shows first: L-infinity 1/255, then by size, then L2.
    """

    table: Table
    corruption_means: list[str]
    attack_means: list[str]
    apgd: list[Quantity]


def robustness_table(study: Study, readings: Readings, sets: Sequence[CorruptionSet]) -> Robustness:
    """Build the summary; what no run has measured has no column, and what nobody measured at all is said."""
    corruptions = {found.label: measured_only(readings, _corruptions(found, readings)) for found in sets}
    legacy = {
        label: measured_only(readings, [legacy_mean(label, found), *found])
        for label, found in legacy_quantities(readings).items()
    }
    curves = attack_quantities(readings, [name for name in ATTACKS if name != "apgd_ce"])
    attacked = [one for one in curves if one.parts[0].metric == "attack_top1"]
    attacks = measured_only(readings, [*attacked, *perturbation_quantities(readings)])
    calibration = [one for one in calibration_quantities(readings) if one.parts[0].metric in _CALIBRATION]
    rest = [*ood_means(readings), *occlusion_means(readings), *consistency_means(readings)]
    quantities = [
        *(one for found in corruptions.values() for one in found),
        *(one for found in legacy.values() for one in found),
        *attacks, *calibration, *rest,
    ]  # fmt: skip
    means = [one.name for label, found in corruptions.items() for one in found if one.name == f"{label}_mean"]
    radii = [one.name for label, found in legacy.items() for one in found if one.name == f"{label}_mean"]
    checked = bool(masking_checks(readings))
    further = Further(
        before=interval_columns("top1", "mean test top-1 after the last epoch, %", 2),
        after=_CHECKS if checked else (),
        values=lambda row: _clean(row) | (_checks(row, readings) if checked else {}),
    )
    fields = _fields(quantities, means, radii, study.reference)
    fields += [Field("masking checks passed", _checks_text, where="markdown")] if checked else []
    notes = _notes(sets, quantities, attacks)
    table = quantity_table(study, readings, "robustness", "Robustness", quantities, fields, notes, further)
    return Robustness(table, means, radii, sorted(filter(_is_apgd, attacks), key=_preference))


def _is_apgd(one: Quantity) -> bool:
    series = one.parts[0]
    return series.metric == "attack_top1" and series.of("attack") == "apgd"


def _preference(one: Quantity) -> tuple[bool, bool, tuple[int, float, str], str]:
    series = one.parts[0]
    size = series.of("eps")
    return series.of("norm") != "linf", size != 1, ordinal(size), one.name


def _corruptions(found: CorruptionSet, readings: Readings) -> list[Quantity]:
    """Means; the single corruptions too where they are not the 15, which have a table of their own."""
    means = [found.mean, *found.family_means, found.extra_mean, found.error, *found.against_alexnet(readings)]
    single = [] if found.standard else [found.of(name) for name in found.counted]
    return [*(one for one in means if one is not None), *single]


def _clean(row: Row) -> Record:
    values = list(row.top1.values())
    return interval_values("top1", mean_interval(values), 100, mean(values) if values else None)


def _checks(row: Row, readings: Readings) -> Record:
    texts = [text for one in masking_checks(readings).values() if (text := check_text(readings, row, one)) is not None]
    return {
        "masking_checks_passed": sum(text == PASSED for text in texts) if texts else None,
        "masking_checks_measured": len(texts) if texts else None,
    }


def _checks_text(row: Record) -> str:
    passed, made = row["masking_checks_passed"], row["masking_checks_measured"]
    if made is None or passed is None:
        return NOT_MEASURED
    return f"{passed} of {made}" + ("" if passed == made else f", {int(made) - int(passed)} {FAILED}")


def _fields(quantities: Sequence[Quantity], corruptions: list[str], radii: list[str], reference: str) -> list[Field]:
    """A few columns for the terminal, means with intervals and all else for the Markdown page."""
    by_name = {one.name: one for one in quantities}
    strong = _middle_attack(quantities)
    fields = [Field("clean %", plain("top1", 2))]
    for name in [*corruptions, *radii]:
        on_terminal = not (strong and name in radii)
        label = name.removesuffix("_mean")
        fields += [Field(f"{label} %", plain(name, 2), where="terminal")] if on_terminal else []
        fields.append(Field(f"{label} mean % [95 %]", with_interval(name, 2), where="markdown"))
        where = "both" if on_terminal else "markdown"
        fields.append(Field(f"minus {reference} [95 %]", difference_text(f"{name}_difference", 2), where=where))
    if _NOISE in by_name:
        fields.append(Field("noise %", plain(_NOISE, 1), where="terminal"))
    if strong:
        fields.append(Field(f"{_heading(strong)} %", plain(strong.name, 1), where="terminal"))
    fields += [Field("ECE %", calibration_text, where="terminal")] if "ece_15" in by_name else []
    fields += [Field("OOD far %", plain(_FAR, 1), where="terminal")] if _FAR in by_name else []
    told = {*corruptions, *radii}
    return [*fields, *(one.field(_heading(one)) for one in quantities if one.name not in told)]


def _middle_attack(quantities: Sequence[Quantity]) -> Quantity | None:
    """The curve's point that the terminal shows: AutoAttack or APGD at 1/255, else at the smallest size."""
    for attack in ("autoattack", "apgd"):
        for norm in NORMS:
            found = [one for one in quantities if one.name.startswith(f"{attack}_{norm}_")]
            named = [one for one in found if one.name == f"{attack}_linf_1"]
            if found:
                return (named or found)[0]
    return None


def _heading(quantity: Quantity) -> str:
    series, text = quantity.parts[0], quantity.name.replace("_family_", "_").replace("_", " ")
    if len(quantity.parts) == 1 and series.metric == "attack_top1" and series.of("norm") == "linf":
        text = f"{text.replace(' linf', '')}/255"
    return text.replace("ece 15", "ECE-15")


def _notes(sets: Sequence[CorruptionSet], quantities: Sequence[Quantity], attacks: Sequence[Quantity]) -> list[str]:
    if not quantities:
        return ["Corrupted and attacked images: not measured."]
    notes = [f"{found.label}: {found.description}." for found in sets]
    notes.append(f"Accuracies in %, unless the column says otherwise. {NO_DEFENCE}")
    if attacks:
        notes.append("Each attack and its checks, and gains that stronger attacks take away: robustness-adversarial.")
    if any("auroc" in one.name for one in quantities):
        notes.append(POSITIVE)
    return notes
