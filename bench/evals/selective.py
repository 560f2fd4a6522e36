"""Selective classification: the error left when the least confident images are turned away (Geifman, El-Yaniv 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.evals.reliability import confidence_groups

ROUNDING = 1e-12
"""Slack where a share is compared with a count."""


def risk_curve(logits: Tensor, labels: Tensor) -> Tensor:
    """Error rate among the k most confident images for k = 1 .. N: (N,) float64.

    Images of equal confidence have no order: the curve is its mean over all orders of them, that is, errors within a
    tie are spread evenly over it. logits (N, K), labels (N,).
    """
    groups = confidence_groups(logits, labels)
    errors = groups.per_image(1 - groups.accuracy).flip(0).cumsum(dim=0)
    return errors / torch.arange(1, len(errors) + 1, dtype=torch.float64, device=errors.device)


def area_under_risk_coverage(risks: Tensor) -> float:
    """AURC: the mean of the curve over k = 1 .. N; lower is better."""
    return risks.mean().item()


def risk_at_coverage(risks: Tensor, coverage: float) -> float:
    """Error rate when the most confident `coverage` of the images, rounded up to whole images, are kept.

    coverage in (0, 1].
    """
    return risks[math.ceil(coverage * len(risks) - ROUNDING * len(risks)) - 1].item()


def coverage_at_risk(risks: Tensor, risk: float) -> float:
    """The largest share of images that can be kept with an error rate of at most `risk`; 0 where there is none."""
    kept = (risks <= risk + ROUNDING).nonzero()
    return (kept[-1].item() + 1) / len(risks) if len(kept) else 0.0
