"""Out-of-distribution detection from logits: scores and how well they part two sets. OOD is the positive class."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

TRUE_POSITIVE_RATE = 0.95


class Detection(NamedTuple):
    """How well a score parts known images (ID) from unknown ones (OOD), each in [0, 1]."""

    auroc: float
    """Chance that an OOD image scores above an ID image, ties counting half."""
    aupr_in: float
    """Area under precision and recall with ID as the positive class and the score negated."""
    aupr_out: float
    """The same with OOD as the positive class."""
    fpr95: float
    """Share of ID images flagged at the highest threshold that flags 95 % of the OOD images or more."""


def maximum_softmax(logits: Tensor) -> Tensor:
    """MSP (Hendrycks and Gimpel 2017): minus the largest softmax probability."""
    return -logits.double().softmax(dim=1).amax(dim=1)


def energy(logits: Tensor) -> Tensor:
    """Energy at temperature 1 (Liu et al. 2020): minus the log of the sum of exponentials. It grows with the logits'
    scale, which mixing changes."""
    return -logits.double().logsumexp(dim=1)


def maximum_logit(logits: Tensor) -> Tensor:
    """Minus the largest logit (Hendrycks et al. 2022)."""
    return -logits.double().amax(dim=1)


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "msp": maximum_softmax,
    "energy": energy,
    "max_logit": maximum_logit,
}
"""Logits (N, K) to scores (N,) float64, larger for what looks more out-of-distribution."""


def detection(known: Tensor, unknown: Tensor) -> Detection:
    """Measures of scores of ID images (N,) and OOD images (M,), N and M at least 1, all finite.

    Areas are by the trapezoidal rule over all distinct thresholds; precision and recall end in the point (1, 0), and
    between points precision is interpolated linearly (not the step-wise average precision: the 4th digit differs).
    """
    flagged_unknown, flagged_known = _counts(unknown, known)
    start = flagged_known.new_zeros(1)
    true_rate = torch.cat((start, flagged_unknown / len(unknown)))
    false_rate = torch.cat((start, flagged_known / len(known)))
    enough = int((true_rate >= TRUE_POSITIVE_RATE).nonzero()[0])
    return Detection(
        auroc=torch.trapezoid(true_rate, false_rate).item(),
        aupr_in=_precision_recall_area(*_counts(-known, -unknown)),
        aupr_out=_precision_recall_area(flagged_unknown, flagged_known),
        fpr95=false_rate[enough].item(),
    )


def _counts(positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """How many positives and negatives score at least each distinct value, from the highest value down (float64)."""
    values, place = torch.cat((positive, negative)).unique(return_inverse=True)
    counts = [
        part.bincount(minlength=len(values)).flip(0).cumsum(dim=0).double()
        for part in (place[: len(positive)], place[len(positive) :])
    ]
    return counts[0], counts[1]


def _precision_recall_area(true: Tensor, false: Tensor) -> float:
    precision = torch.cat((true.new_ones(1), true / (true + false)))
    recall = torch.cat((true.new_zeros(1), true / true[-1]))
    return torch.trapezoid(precision, recall).item()
