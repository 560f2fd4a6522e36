"""The protocol's losses against plain formulas."""

from __future__ import annotations

import math

import pytest
import torch

from bench.spec import ProtocolSpec
from bench.train.criterion import build_criterion
from methods.api import mixed_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [40.0, -40.0, 0.0]])
LABELS = torch.tensor([0, 2, 1])


def slow(kind: str, smoothing: float) -> list[float]:
    values = []
    for row, label in zip(LOGITS.double().tolist(), LABELS.tolist(), strict=True):
        highest = max(row)
        total = math.log(sum(math.exp(x - highest) for x in row)) + highest
        logs = [x - total for x in row]
        target = [smoothing / 3 + (1 - smoothing) * (k == label) for k in range(3)]
        if kind == "cross_entropy":
            values.append(-sum(t * p for t, p in zip(target, logs, strict=True)))
        else:
            rest = [math.log(max(1e-12, -math.expm1(p))) for p in logs]
            values.append(-sum(t * p + (1 - t) * q for t, p, q in zip(target, logs, rest, strict=True)) / 3)
    return values


def criterion(kind: str, smoothing: float):
    spec = ProtocolSpec(epochs=1, batch_size=2, learning_rate=0.1, loss=kind, label_smoothing=smoothing)
    return build_criterion(spec, 3)


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_equal_their_definition(kind, smoothing):
    found = criterion(kind, smoothing)(LOGITS, LABELS)
    assert found.tolist() == pytest.approx(slow(kind, smoothing), rel=1e-4)


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
def test_a_mix_of_losses_is_the_loss_of_the_mixed_label(kind):
    """Linearity: what lets every method write lam * L(a) + (1 - lam) * L(b) under any protocol loss."""
    logits, lam = LOGITS[:2], torch.tensor([0.3, 0.8])
    permutation, labels = torch.tensor([1, 0]), LABELS[:2]
    found = mixed_loss(criterion(kind, 0.0), logits, labels, permutation, lam)
    p = logits.double().softmax(1)
    total = 0.0
    for row in range(2):
        target = torch.zeros(3, dtype=torch.float64)
        target[labels[row]] += lam[row].double()
        target[labels[permutation[row]]] += 1 - lam[row].double()
        if kind == "cross_entropy":
            total += float(-(target * p[row].log()).sum())
        else:
            total += float(-(target * p[row].log() + (1 - target) * (1 - p[row]).log()).mean())
    assert float(found) == pytest.approx(total / 2, rel=1e-5)
