"""Measures against torchmetrics and scikit-learn, and the calibration floor against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
)

from bench.evals import measures
from bench.evals.reliability import adaptive_calibration_error, adaptive_calibration_floor


def sample(size: int, classes: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(size + classes)
    labels = generator.integers(0, classes, size)
    logits = generator.normal(size=(size, classes)) * scale
    logits[np.arange(size), labels] += 1.5
    return torch.from_numpy(logits).float(), torch.from_numpy(labels)


CASES = [(600, 10, 1.0), (700, 10, 3.0), (50, 100, 2.0), (400, 2, 0.7)]


@pytest.mark.parametrize("case", CASES)
def test_against_other_implementations(case: tuple[int, int, float]) -> None:
    logits, labels = sample(*case)
    classes = case[1]
    probability = logits.double().softmax(dim=1)
    for k in (1, 5) if classes > 5 else (1,):
        expected = multiclass_accuracy(logits, labels, classes, average="micro", top_k=k)
        assert measures.top_k_accuracy(logits, labels, k) == pytest.approx(expected.item(), abs=1e-6)
    expected = log_loss(labels.numpy(), probability.numpy(), labels=range(classes))
    assert measures.negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-9)
    for bins in (15, 10):
        expected = multiclass_calibration_error(probability, labels, classes, n_bins=bins, norm="l1").item()
        assert measures.calibration_error(logits, labels, bins) == pytest.approx(expected, abs=1e-7)


def test_brier_is_the_sum_over_classes() -> None:
    logits, labels = sample(200, 10, 1.0)
    total = 0.0
    for row, label in zip(logits.double().softmax(dim=1).tolist(), labels.tolist(), strict=True):
        total += sum((p - (place == label)) ** 2 for place, p in enumerate(row))
    assert measures.brier_score(logits, labels) == pytest.approx(total / 200, rel=1e-9)


def test_sign_of_the_confidence_gap() -> None:
    logits, labels = sample(2000, 10, 1.0)
    assert measures.confidence_gap(logits * 20, labels) > 0.05
    assert measures.confidence_gap(logits / 20, labels) < -0.05


def test_calibration_error_is_not_an_average_over_batches() -> None:
    logits, labels = sample(2000, 10, 1.0)
    parts = [measures.calibration_error(a, b) for a, b in zip(logits.split(50), labels.split(50), strict=True)]
    assert measures.calibration_error(logits, labels) < 0.8 * np.mean(parts)


@pytest.mark.parametrize(("size", "scale"), [(500, 1.0), (1000, 2.0), (4000, 4.0)])
def test_calibration_floor_is_what_a_calibrated_network_shows(size: int, scale: float) -> None:
    logits, _ = sample(size, 10, scale)
    probability = logits.double().softmax(dim=1).numpy()
    generator = np.random.default_rng(1)
    errors, adaptive = [], []
    for _ in range(300):
        labels = torch.from_numpy((probability.cumsum(axis=1) < generator.random((size, 1))).sum(axis=1).clip(0, 9))
        errors.append(measures.calibration_error(logits, labels))
        adaptive.append(adaptive_calibration_error(logits, labels))
    assert measures.calibration_floor(logits) == pytest.approx(np.mean(errors), rel=0.06)
    assert adaptive_calibration_floor(logits) == pytest.approx(np.mean(adaptive), rel=0.06)


def test_top_k_beyond_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="top-5 of 2 classes"):
        measures.top_k_accuracy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), 5)
