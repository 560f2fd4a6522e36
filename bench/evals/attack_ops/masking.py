"""Signs that a network hides its gradients rather than resisting attacks (Athalye et al. 2018; Carlini et al. 2019).

A check compares accuracies under two attacks of which one must be the stronger. It is 1.0 where that is so, 0.0 where
it is not, and None where one of the two was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

SLACK = 0.002
"""Accuracy by which the stronger attack may come out behind: RobustBench's 0.2 points, but at least one image."""
Values = Mapping[str, float | None]
"""Accuracies by attack: apgd, apgd_ce, apgd_ce_fewer_steps, apgd_half_range, fgsm, pgd, square, transfer, noise."""
CHECKS = (
    "monotone_in_eps",
    "zero_at_half_range",
    "pgd_not_above_fgsm",
    "more_steps_not_above_fewer",
    "apgd_not_above_square",
    "apgd_not_above_transfer",
    "apgd_not_above_noise",
)


def masking_checks(values: Values, curve: Sequence[float | None], images: int) -> dict[str, float | None]:
    """Each of `CHECKS`. curve: accuracies under apgd from eps 0 to the largest; images: how many were attacked."""
    apgd = values["apgd"]
    return {
        "monotone_in_eps": falls(curve, images),
        "zero_at_half_range": is_zero(values["apgd_half_range"]),
        "pgd_not_above_fgsm": not_above(values["pgd"], values["fgsm"], images),
        "more_steps_not_above_fewer": not_above(values["apgd_ce"], values["apgd_ce_fewer_steps"], images),
        "apgd_not_above_square": not_above(apgd, values["square"], images),
        "apgd_not_above_transfer": not_above(apgd, values["transfer"], images),
        "apgd_not_above_noise": not_above(apgd, values["noise"], images),
    }


def not_above(stronger: float | None, weaker: float | None, images: int) -> float | None:
    """Whether accuracy under the stronger attack is at most that under the weaker one, but for `SLACK`."""
    if stronger is None or weaker is None:
        return None
    return float(stronger <= weaker + max(SLACK, 1 / images) + 1e-9)


def falls(accuracies: Sequence[float | None], images: int) -> float | None:
    """Whether accuracies, from the smallest eps to the largest, never rise by more than `SLACK`."""
    steps = [not_above(larger, smaller, images) for smaller, larger in pairwise(accuracies)]
    return None if None in steps else float(all(steps))


def is_zero(accuracy: float | None) -> float | None:
    """Whether no image is left."""
    return None if accuracy is None else float(accuracy == 0)
