"""Calibration, temperature and selective measures against torchmetrics, SciPy, scikit-learn and slow loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from bench.evals import measures, selective
from bench.evals.reliability import adaptive_calibration_error, reliability
from bench.evals.temperature import RANGE, fit_temperature

CASES = [(600, 10, 1.0), (701, 10, 3.0), (50, 100, 2.0), (400, 2, 0.7)]


def sample(size: int, classes: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(size + classes)
    labels = generator.integers(0, classes, size)
    logits = generator.normal(size=(size, classes)) * scale
    logits[np.arange(size), labels] += 1.5
    return torch.from_numpy(logits).float(), torch.from_numpy(labels)


def rows(logits: Tensor, labels: Tensor) -> list[tuple[float, float]]:
    """(top confidence, 1.0 where correct) of each image, one at a time."""
    found = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        powers = [math.exp(value - max(row)) for value in row]
        found.append((max(powers) / sum(powers), float(row.index(max(row)) == label)))
    return found


@pytest.mark.parametrize("case", CASES)
def test_adaptive_error_by_a_slow_loop(case: tuple[int, int, float]) -> None:
    logits, labels = sample(*case)
    ranked = sorted(rows(logits, labels))
    total = 0.0
    for number in range(15):
        inside = [pair for rank, pair in enumerate(ranked) if rank * 15 // len(ranked) == number]
        assert abs(len(inside) - len(ranked) / 15) < 1
        total += abs(sum(correct for _, correct in inside) - sum(certain for certain, _ in inside))
    assert adaptive_calibration_error(logits, labels) == pytest.approx(total / len(ranked), rel=1e-9)


def test_adaptive_error_of_equal_bins_is_known() -> None:
    """Fifteen bins of two images each: in a bin of confidence c one of two is right, so its gap is |1 - 2c|."""
    levels = [0.52 + 0.03 * number for number in range(15)]
    logits = torch.tensor([[math.log(c / (1 - c)), 0.0] for c in levels for _ in range(2)], dtype=torch.float64)
    labels = torch.tensor([0, 1] * 15)
    expected = sum(2 * c - 1 for c in levels) / 30
    assert adaptive_calibration_error(logits, labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_reliability_bins(case: tuple[int, int, float]) -> None:
    logits, labels = sample(*case)
    pairs = rows(logits, labels)
    bins = reliability(logits, labels)
    for number in range(15):
        inside = [pair for pair in pairs if number / 15 < pair[0] <= (number + 1) / 15]
        assert bins.share[number] == len(inside) / len(pairs)
        if inside:
            assert bins.confidence[number] == pytest.approx(np.mean([certain for certain, _ in inside]))
            assert bins.accuracy[number] == pytest.approx(np.mean([correct for _, correct in inside]))
        else:
            assert (bins.accuracy[number], bins.confidence[number]) == (None, None)
    filled = [place for place in range(15) if bins.share[place]]
    gap = sum(bins.share[place] * abs(bins.accuracy[place] - bins.confidence[place]) for place in filled)
    expected = multiclass_calibration_error(logits.double().softmax(dim=1), labels, case[1], n_bins=15, norm="l1")
    assert gap == pytest.approx(expected.item(), abs=1e-7)
    assert gap == pytest.approx(measures.calibration_error(logits, labels), abs=1e-12)


@pytest.mark.parametrize(("classes", "place"), [(15, 0), (5, 2), (3, 4)])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(classes: int, place: int) -> None:
    assert reliability(torch.zeros(2, classes), torch.tensor([0, 1])).share[place] == 1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_temperature_has_the_least_likelihood(case: tuple[int, int, float], factor: float) -> None:
    logits, labels = sample(*case)
    exact = logits.double().numpy() * factor

    def likelihood(log_temperature: float) -> float:
        scaled = exact / math.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        power = np.exp(scaled)
        return log_loss(labels.numpy(), power / power.sum(axis=1, keepdims=True), labels=range(case[1]))

    expected = minimize_scalar(likelihood, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(torch.from_numpy(exact), labels)
    assert math.log(found) == pytest.approx(expected.x, abs=1e-5)
    assert likelihood(math.log(found)) <= expected.fun + 1e-13


def test_temperature_follows_the_scale_of_the_logits() -> None:
    logits, labels = sample(9000, 10, 2.0)
    base = fit_temperature(logits, labels)
    assert fit_temperature(logits * 8, labels) == pytest.approx(8 * base, rel=1e-6)
    order = torch.from_numpy(np.random.default_rng(3).permutation(9000))
    assert fit_temperature(logits[order], labels[order]) == pytest.approx(base, rel=1e-9)


def test_temperature_recovers_a_planted_one() -> None:
    generator = np.random.default_rng(4)
    logits = torch.from_numpy(generator.normal(size=(20_000, 5)) * 2)
    chance = (logits / 2.5).softmax(dim=1).numpy()
    labels = torch.from_numpy((chance.cumsum(axis=1) < generator.random((20_000, 1))).sum(axis=1).clip(0, 4))
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.06)
    assert measures.calibration_error(logits / 2.5, labels) < 0.02 < measures.calibration_error(logits, labels)


def test_temperature_where_the_best_is_out_of_range() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == RANGE[0]
    assert fit_temperature(logits, torch.tensor([1, 0])) == RANGE[1]
    assert fit_temperature(torch.ones(4, 3), torch.tensor([0, 1, 2, 0])) == 1.0


def slow_risks(pairs: list[tuple[float, float]]) -> list[float]:
    ranked = sorted(pairs, key=lambda pair: -pair[0])
    return [sum(1 - correct for _, correct in ranked[:k]) / k for k in range(1, len(ranked) + 1)]


@pytest.mark.parametrize("case", CASES)
def test_risk_coverage_by_a_slow_loop(case: tuple[int, int, float]) -> None:
    logits, labels = sample(*case)
    expected = slow_risks(rows(logits, labels))
    risks = selective.risk_curve(logits, labels)
    assert risks.tolist() == pytest.approx(expected, abs=1e-12)
    size = len(expected)
    assert selective.area_under_risk_coverage(risks) == pytest.approx(sum(expected) / size)
    for tenth in range(1, 11):
        kept = -(-size * tenth // 10)
        assert selective.risk_at_coverage(risks, tenth / 10) == pytest.approx(expected[kept - 1])
    for limit in (0.05, 0.2):
        allowed = [k for k in range(1, size + 1) if expected[k - 1] <= limit]
        assert selective.coverage_at_risk(risks, limit) == (max(allowed) / size if allowed else 0)


def test_a_coverage_of_whole_images_is_not_rounded_up() -> None:
    places = torch.arange(1, 101, dtype=torch.float64)
    assert [selective.risk_at_coverage(places, number / 100) for number in range(1, 101)] == places.tolist()
    assert selective.risk_at_coverage(places, 0.075) == 8


def test_coverage_where_the_risk_is_met_exactly_or_never() -> None:
    risks = torch.tensor([0.0] * 19 + [1 / 20, 2 / 21], dtype=torch.float64)
    assert selective.coverage_at_risk(risks, 0.05) == 20 / 21
    assert selective.coverage_at_risk(torch.tensor([1.0, 0.5], dtype=torch.float64), 0.05) == 0.0


def test_ties_count_as_the_mean_over_their_orders() -> None:
    """Three confidence levels, the middle one shared by four images of which one is wrong."""
    logits = torch.tensor([[4.0, 0], [2, 0], [2, 0], [2, 0], [2, 0], [1, 0]])
    labels = torch.tensor([0, 0, 1, 0, 0, 1])
    pairs = rows(logits, labels)
    orders = [slow_risks([pairs[0], *middle, pairs[5]]) for middle in itertools.permutations(pairs[1:5])]
    risks = selective.risk_curve(logits, labels)
    assert risks.tolist() == pytest.approx(np.mean(orders, axis=0).tolist(), abs=1e-12)
    adaptive = adaptive_calibration_error(logits, labels, bins=3)
    for order in ([5, 2, 0, 4, 1, 3], [2, 5, 4, 3, 1, 0]):
        assert torch.equal(selective.risk_curve(logits[order], labels[order]), risks)
        assert adaptive_calibration_error(logits[order], labels[order], bins=3) == pytest.approx(adaptive, abs=1e-15)


def test_a_measure_of_sorted_columns_or_of_averaged_batches_would_be_seen() -> None:
    """Sorting the confidences apart from the labels, or averaging over batches, changes every number."""
    logits, labels = sample(2000, 10, 1.0)
    shuffled = labels[torch.from_numpy(np.random.default_rng(1).permutation(2000))]
    pieces = list(zip(logits.split(50), labels.split(50), strict=True))
    whole = adaptive_calibration_error(logits, labels)
    assert np.mean([adaptive_calibration_error(*piece) for piece in pieces]) > 1.5 * whole
    assert adaptive_calibration_error(logits, shuffled) > 1.5 * whole
    area = selective.area_under_risk_coverage(selective.risk_curve(logits, labels))
    assert selective.area_under_risk_coverage(selective.risk_curve(logits, shuffled)) > 1.5 * area
