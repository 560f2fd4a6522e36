"""Accuracy, proper scores and calibration from logits. Pure, float64 inside, means over images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def top_k_accuracy(logits: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share of images whose label is among the k largest logits. logits (N, K), labels (N,), 1 <= k <= K."""
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"top-{k} of {logits.shape[1]} classes")
    best = logits.topk(k, dim=1).indices
    return (best == labels[:, None]).any(dim=1).double().mean().item()


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log p(label), in nats."""
    return F.cross_entropy(logits.double(), labels).item()


def brier_score(logits: Tensor, labels: Tensor) -> float:
    """Mean over images of the sum over classes of (p - one-hot label) squared, in [0, 2] (Brier 1950)."""
    probability = logits.double().softmax(dim=1)
    own = probability.gather(1, labels[:, None])[:, 0]
    return (probability.square().sum(dim=1) - 2 * own + 1).mean().item()


def confidence(logits: Tensor) -> Tensor:
    """The largest softmax probability of each image, (N,) float64."""
    return logits.double().softmax(dim=1).amax(dim=1)


def confidence_gap(logits: Tensor, labels: Tensor) -> float:
    """Mean confidence minus accuracy: above 0 is over-confident, below 0 under-confident."""
    return confidence(logits).mean().item() - top_k_accuracy(logits, labels)


def calibration_error(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (a, b] of the confidence (Guo et al. 2017), all images at once.

    The sum over bins of |sum of (correct - confidence)| / N. It must never be averaged over batches: within a batch
    the signs no longer cancel.
    """
    certain = confidence(logits)
    correct = (logits.argmax(dim=1) == labels).double()
    gaps = _bin_sums(correct - certain, certain, bins)
    return gaps.abs().sum().item() / len(labels)


def calibration_floor(logits: Tensor, bins: int = 15) -> float:
    """What `calibration_error` would be on average if this network were perfectly calibrated.

    With every image correct with a probability equal to its confidence p, a bin's sum of (correct - p) has mean 0 and
    variance s2 = sum p(1 - p), and by the central limit the mean of its absolute value is sqrt(2 s2 / pi). An error
    near this floor says nothing about calibration.
    """
    certain = confidence(logits)
    variance = _bin_sums(certain * (1 - certain), certain, bins)
    return (2 * variance / math.pi).sqrt().sum().item() / len(certain)


def _bin_sums(values: Tensor, certain: Tensor, bins: int) -> Tensor:
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=certain.device)
    index = torch.bucketize(certain, edges[1:-1], right=False)
    return torch.zeros(bins, dtype=torch.float64, device=certain.device).scatter_add_(0, index, values)
