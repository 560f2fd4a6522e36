"""Temperature scaling (Guo et al. 2017): one number that divides all logits."""

from __future__ import annotations

import math
from typing import cast

import torch
from scipy.optimize import brentq
from torch import Tensor

RANGE = (0.01, 100.0)
"""Temperatures looked at. The best one lies outside where the network is always right, or worse than guessing."""
ROWS = 4096
"""Images taken at a time, so that float64 copies stay small."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T in RANGE at which softmax(logits / T) has the least negative log-likelihood; float64.

    logits (N, K), labels (N,), of images that nothing else is measured on. The likelihood is convex in 1 / T, so its
    slope has one sign change, which Brent's method finds; where there is none the nearer end of RANGE is returned, and
    1 where all T are equally good (every image's logits are equal).
    """

    def slope(log_temperature: float) -> float:
        return likelihood_slope(logits, labels, math.exp(-log_temperature))

    low, high = (math.log(end) for end in RANGE)
    at_low, at_high = slope(low), slope(high)
    if at_low == at_high == 0:
        return 1.0
    if at_low <= 0:
        return RANGE[0]
    if at_high >= 0:
        return RANGE[1]
    return math.exp(cast("float", brentq(slope, low, high, xtol=1e-12)))


def likelihood_slope(logits: Tensor, labels: Tensor, inverse_temperature: float) -> float:
    """Derivative by 1 / T of the mean of -log p(label): the mean of (expected logit - label's logit)."""
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for block, own in zip(logits.split(ROWS), labels.split(ROWS), strict=True):
        exact = block.double()
        expected = ((exact * inverse_temperature).softmax(dim=1) * exact).sum(dim=1)
        total += (expected - exact.gather(1, own[:, None])[:, 0]).sum()
    return total.item() / len(logits)
