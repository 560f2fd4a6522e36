"""Attack results as columns: accuracy by attack, norm and strength, and the checks for gradient masking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from bench.report.quantity import Quantity
from bench.report.readings import Readings, Series, ordinal
from bench.report.study import Row

ATTACKS = {
    "autoattack": "AutoAttack, standard",
    "apgd": "worst case of APGD-CE and targeted APGD-DLR",
    "apgd_ce": "APGD-CE alone",
    "pgd20": "PGD-20 (legacy)",
    "fgsm": "FGSM (one step; legacy)",
}
"""By name what an attack is, strongest first."""
STRONGEST = ("autoattack", "apgd")
"""Attacks that a gain must survive, the one to be believed first."""
LEGACY = ("fgsm", "pgd20")
NORMS = ("linf", "l2")
PASSED, FAILED = "passed", "FAILED"


def strength(series: Series) -> str:
    """An attack's size as text, such as "2/255" or "L2 0.5"."""
    size = series.text("eps")
    return f"{size}/255" if series.of("norm") == "linf" else f"L2 {size}"


def attack_series(readings: Readings, attack: str, norm: str) -> list[Series]:
    """All strengths of an attack that any run has measured, weakest first, of all arms."""
    found = [
        one
        for one in readings.series("attack_top1", "attack", "norm", "eps")
        if one.of("attack") == attack and one.of("norm") == norm
    ]
    return sorted(filter(readings.measured, found), key=lambda one: (ordinal(one.of("eps")), one.arm))


def attack_quantities(readings: Readings, attacks: Sequence[str] = tuple(ATTACKS)) -> list[Quantity]:
    """A column for each attack, norm and strength; the strongest ones' begin with the clean accuracy at strength 0."""
    made: list[Quantity] = []
    clean = {one.arm: one for one in readings.bare("attack_clean_top1")}
    for attack in attacks:
        for norm in NORMS:
            series = attack_series(readings, attack, norm)
            for one in {one.arm: one for one in series if attack in STRONGEST and one.arm in clean}.values():
                name = f"{readings.prefix(one)}{attack}_{norm}_0"
                meaning = f"clean top-1 on the images that '{one.arm}' attacks, %"
                made.append(Quantity(name, meaning, one.arm, (clean[one.arm],)))
            for one in series:
                name = f"{readings.prefix(one)}{attack}_{norm}_{one.text('eps')}"
                made.append(Quantity(name, f"top-1 under {ATTACKS[attack]} at {strength(one)}, %", one.arm, (one,)))
    return made


def noise_quantities(readings: Readings) -> list[Quantity]:
    """Random noise of the attacks' sizes, which is no attack."""
    return [
        Quantity(
            f"{readings.prefix(one)}random_noise_{one.text('norm')}_{one.text('eps')}",
            f"top-1 under random noise of size {strength(one)}, %",
            one.arm,
            (one,),
        )
        for one in readings.series("random_noise_top1", "norm", "eps")
    ]


def gap_quantities(readings: Readings) -> list[Quantity]:
    """Largest gap over the strengths between APGD-CE alone and the worst case."""
    made: list[Quantity] = []
    for norm in NORMS:
        alone = {(one.arm, one.of("eps")): one for one in attack_series(readings, "apgd_ce", norm)}
        worst = {(one.arm, one.of("eps")): one for one in attack_series(readings, "apgd", norm)}
        for arm in dict.fromkeys(arm for arm, _ in alone):
            places = [place for place in alone if place in worst and place[0] == arm]
            parts = [part for place in places for part in (alone[place], worst[place])]
            if parts:
                shared = {one for one, _ in alone}
                name = f"{'' if len(shared) == 1 else f'{arm}_'}ce_minus_worst_case_{norm}"
                meaning = f"largest gap over {norm} sizes between APGD-CE alone and the worst case, points"
                made.append(Quantity(name, meaning, arm, tuple(parts), _largest_gap, compared=False))
    return made


def masking_values(readings: Readings) -> list[Quantity]:
    """The shares that the checks compare."""
    return [
        Quantity(
            f"{readings.prefix(one)}masking_{one.text('quantity')}{_ending(one, 'quantity')}",
            f"check for gradient masking: {one.text('quantity')}{_ending(one, 'quantity', ' ')}, %",
            one.arm,
            (one,),
            compared=False,
        )
        for one in readings.series("masking_value")
    ]  # fmt: skip


def masking_checks(readings: Readings) -> dict[str, Series]:
    """The checks for gradient masking by column name."""
    return {
        f"{readings.prefix(one)}check_{one.text('check')}{_ending(one, 'check')}": one
        for one in readings.series("masking_check")
    }


def check_text(readings: Readings, row: Row, series: Series) -> str | None:
    """ "passed", or "FAILED" with the number of runs that failed; None where no run could be checked."""
    values = [value for run in row.ok.values() if (value := readings.value(run, series)) is not None]
    failed = sum(value < 1 for value in values)
    if failed:
        return FAILED if len(values) == 1 else f"{FAILED} in {failed} of {len(values)} runs"
    return PASSED if values else None


def perturbation_quantities(readings: Readings) -> list[Quantity]:
    """Median of the smallest perturbations that change the answer, and how often one was found."""
    made: list[Quantity] = []
    for one in readings.series("perturbation_median", "norm"):
        norm = one.text("norm")
        unit = "1/255" if norm == "linf" else "Euclidean length of pixels in [0, 1]"
        name = f"{readings.prefix(one)}perturbation_median_{norm}"
        meaning = f"median smallest adversarial perturbation found, {norm}, {unit}"
        made.append(Quantity(name, meaning, one.arm, (one,), scale=1.0, decimals=None, digits=4))
    for one in readings.series("perturbation_found", "norm"):
        name = f"{readings.prefix(one)}perturbation_found_{one.text('norm')}"
        meaning = f"images for which an adversarial perturbation was found, {one.text('norm')}, %"
        made.append(Quantity(name, meaning, one.arm, (one,), compared=False))
    return made


def legacy_quantities(readings: Readings) -> dict[str, list[Quantity]]:
    """By label the columns of arms that run FGSM alone: each radius; "fgsm" for one arm, else each by its name.

    Radii that the arm's settings name but no run has recorded yet are among them.
    """
    series = [one for one in readings.series("fgsm_top1", "eps_255") if ordinal(one.of("eps_255"))[0] == 0]
    arms = list(dict.fromkeys(one.arm for one in series))
    made: dict[str, list[Quantity]] = {}
    for arm in arms:
        label = "fgsm" if len(arms) == 1 else arm
        planned = readings.sources[arm].settings.get("eps_255")
        radii = cast("list[Any]", planned) if isinstance(planned, list) else []
        own = {one for one in series if one.arm == arm}
        own |= {Series(arm, "fgsm_top1", (("eps_255", radius),)) for radius in radii}
        made[label] = [
            Quantity(
                f"{label}_{one.text('eps_255')}",
                f"top-1 under FGSM (one step; legacy) at {one.text('eps_255')}/255, %", label, (one,),
            )
            for one in sorted(own, key=lambda one: ordinal(one.of("eps_255")))
        ]  # fmt: skip
    return made


def legacy_mean(label: str, quantities: Sequence[Quantity]) -> Quantity:
    """The mean over all radii of one arm."""
    parts = tuple(part for one in quantities for part in one.parts)
    return Quantity(f"{label}_mean", "mean top-1 over all FGSM radii (one step; legacy), %", label, parts)


def _largest_gap(values: Sequence[float]) -> float:
    return max(alone - worst for alone, worst in zip(values[::2], values[1::2], strict=True))


def _ending(series: Series, named: str, gap: str = "_") -> str:
    return "".join(f"{gap}{series.text(key)}" for key in sorted(series.keys - {named}))
