from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals import measures
from bench.evals.api import Context, Metric, Transform
from bench.evals.calibration import Calibration
from bench.evals.forward import predictions
from bench.evals.temperature import fit_temperature


class Counting(ResidentEval):
    """Counts the images it has served."""

    seen = 0

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(batch_size, transform):
            self.seen += len(images)
            yield images, labels


def normalise(images: Tensor) -> Tensor:
    return images.float() / 255


def feed_of(size: int, classes: int, seed: int) -> Counting:
    generator = np.random.default_rng(seed)
    images = torch.from_numpy(generator.integers(0, 256, (size, 1, 4, 4), dtype=np.uint8))
    brightness = images.flatten(1).double().mean(dim=1)
    labels = (brightness.argsort().argsort() * classes // max(size, 1)).long()
    return Counting(images, labels, 4)


def context_of(classes: int = 3, **sizes: int) -> Context:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))
    weight = torch.linspace(-6, 6, classes)[:, None].expand(classes, 16) / 2
    net[1].weight.data = weight + torch.from_numpy(np.random.default_rng(1).normal(size=(classes, 16))).float()
    net[1].bias.data = -weight.sum(dim=1) / 2
    splits = {name: feed_of(size, classes, seed) for seed, (name, size) in enumerate(sizes.items())}
    return Context(net, normalise, splits, classes, torch.device("cpu"), seed=0)


def values_of(metrics: list[Metric]) -> dict[str, float | None]:
    return {metric.key: metric.value for metric in metrics}


def test_names_and_resume() -> None:
    context = context_of(test=80, validation=50)
    test, validation = context.splits["test"], context.splits["validation"]
    metrics = list(Calibration(batch_size=32).evaluate(context, {}))
    assert [metric.key for metric in metrics] == Calibration().plan(context)
    assert (test.seen, validation.seen) == (80, 50)
    names = {metric.name for metric in metrics}
    assert names == {
        "ece_15", "ece_15_floor", "adaptive_ece_15", "adaptive_ece_15_floor", "confidence_gap", "nll", "brier", "temperature", "aurc",
        "risk_at_80_coverage", "coverage_at_5_risk", "risk_at_coverage", "reliability_share", "reliability_accuracy",
        "reliability_confidence",
    }  # fmt: skip
    place = [metric.name for metric in metrics].index("temperature")
    done = values_of(metrics[: place + 1])
    assert list(Calibration().evaluate(context, done)) == metrics[place + 1 :]
    assert (test.seen, validation.seen) == (160, 50)
    assert list(Calibration().evaluate(context, values_of(metrics))) == []
    assert (test.seen, validation.seen) == (160, 50)


def test_scaled_values_use_the_temperature_of_the_validation_split() -> None:
    context = context_of(test=120, validation=90)
    values = values_of(list(Calibration().evaluate(context, {})))
    temperature = fit_temperature(*predictions(context, "validation"))
    assert values["temperature {}"] == temperature
    assert abs(temperature - fit_temperature(*predictions(context, "test"))) > 1e-3
    logits, labels = predictions(context)
    for scaled, used in (("false", logits.double()), ("true", logits.double() / temperature)):
        assert values[f'nll {{"scaled":{scaled}}}'] == measures.negative_log_likelihood(used, labels)
        assert values[f'ece_15 {{"scaled":{scaled}}}'] == measures.calibration_error(used, labels)
        assert values[f'confidence_gap {{"scaled":{scaled}}}'] == measures.confidence_gap(used, labels)
        assert values[f'brier {{"scaled":{scaled}}}'] == measures.brier_score(used, labels)
        shares = [values[f'reliability_share {{"bin":{place},"scaled":{scaled}}}'] for place in range(15)]
        assert sum(shares) == pytest.approx(1)


def test_selective_values_agree_with_each_other() -> None:
    values = values_of(list(Calibration().evaluate(context_of(test=100), {})))
    curve = [values[f'risk_at_coverage {{"coverage":{coverage}}}'] for coverage in (t / 10 for t in range(1, 11))]
    assert curve[7] == values["risk_at_80_coverage {}"]
    logits, labels = predictions(context_of(test=100))
    assert curve[9] == pytest.approx(1 - measures.top_k_accuracy(logits, labels))
    assert curve[0] < curve[9]
    assert curve[0] <= values["aurc {}"] <= curve[9]


def test_without_a_validation_split_scaled_values_are_none() -> None:
    metrics = list(Calibration().evaluate(context_of(test=60), {}))
    assert [metric.key for metric in metrics] == Calibration().plan(context_of(test=60, validation=9))
    for metric in metrics:
        unknown = metric.name == "temperature" or metric.detail.get("scaled") is True
        empty = metric.name in ("reliability_accuracy", "reliability_confidence")
        assert (metric.value is None) == unknown or empty


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="calibration: the test split has no images"):
        list(Calibration().evaluate(context_of(test=0), {}))
    with pytest.raises(BadInput, match="the validation split has no images"):
        Calibration().plan(context_of(test=9, validation=0))
    with pytest.raises(BadInput, match="two or more classes, this one has 1"):
        Calibration().plan(context_of(1, test=9))
    with pytest.raises(BadInput, match="there is no test split"):
        Calibration().plan(context_of(validation=9))
    context = context_of(test=9)
    context.backbone[1].bias.data[1] = float("nan")
    with pytest.raises(BadInput, match="logits are not finite on 9 of 9 images of the test split"):
        list(Calibration().evaluate(context, {}))
