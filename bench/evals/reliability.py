"""Confidence against accuracy in bins. Pure, float64 inside, all images at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bench.evals.measures import confidence


class Reliability(NamedTuple):
    """The reliability diagram (DeGroot and Fienberg 1983), one entry a bin; None where a bin is empty."""

    share: list[float]
    """Of all images."""
    accuracy: list[float | None]
    confidence: list[float | None]
    """Mean over the bin's images."""


class ConfidenceGroups(NamedTuple):
    """Images of exactly equal confidence taken together, by increasing confidence; G groups of N images."""

    confidence: Tensor
    """(G,) float64, increasing."""
    images: Tensor
    """How many, (G,) int64."""
    accuracy: Tensor
    """(G,) float64."""

    def per_image(self, values: Tensor) -> Tensor:
        """One value a group (G,) to one an image (N,)."""
        return values.repeat_interleave(self.images)


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Share, accuracy and mean confidence in equal-width bins (a, b] of the confidence.

    logits (N, K), labels (N,). The sum of share * |accuracy - confidence| is `measures.calibration_error`.
    """
    certain = confidence(logits)
    correct = (logits.argmax(dim=1) == labels).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=certain.device)
    place = torch.bucketize(certain, edges[1:-1], right=False)
    counts = place.bincount(minlength=bins).tolist()

    def means(values: Tensor) -> list[float | None]:
        sums = place.bincount(weights=values, minlength=bins).tolist()
        return [total / count if count else None for total, count in zip(sums, counts, strict=True)]

    return Reliability([count / len(labels) for count in counts], means(correct), means(certain))


def confidence_groups(logits: Tensor, labels: Tensor) -> ConfidenceGroups:
    """Group images by confidence, so that what follows cannot depend on the order of images that tie.

    logits (N, K), labels (N,).
    """
    values, group, count = confidence(logits).unique(return_inverse=True, return_counts=True)
    correct = (logits.argmax(dim=1) == labels).double()
    return ConfidenceGroups(values, count, group.bincount(weights=correct, minlength=len(values)) / count)


def adaptive_calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error over bins of equal count of the top confidence (Nguyen and O'Connor 2015).

    Images are ranked 0 .. N - 1 by confidence and rank r falls into bin floor(r * bins / N), so counts differ by one
    at most. The error is the sum over bins of |sum of (correct - confidence)| / N. Where a tie lies across the edge of
    two bins, each of its images counts with the tie's mean correctness, so the order of images has no say. This is
    not the class-wise "ACE" of Nixon et al. (2019). logits (N, K), labels (N,).
    """
    groups = confidence_groups(logits, labels)
    gaps = groups.per_image(groups.accuracy - groups.confidence)
    place = torch.arange(len(gaps), device=gaps.device) * bins // len(gaps)
    return place.bincount(weights=gaps, minlength=bins).abs().sum().item() / len(gaps)


def adaptive_calibration_floor(logits: Tensor, bins: int = 15) -> float:
    """What `adaptive_calibration_error` would be on average if this network were perfectly calibrated.

    Derived as `measures.calibration_floor`, over bins of equal count. logits (N, K).
    """
    certain = confidence(logits).sort().values
    place = torch.arange(len(certain), device=certain.device) * bins // len(certain)
    variance = place.bincount(weights=certain * (1 - certain), minlength=bins)
    return (2 * variance / math.pi).sqrt().sum().item() / len(certain)
