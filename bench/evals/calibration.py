"""Does the confidence mean what it says? Before and after temperature scaling; selective classification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from torch import Tensor

from bench.evals import measures, selective
from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.reliability import adaptive_calibration_error, adaptive_calibration_floor, reliability
from bench.evals.requirements import finite_predictions, require_classes, require_images
from bench.evals.temperature import fit_temperature

BINS = 15
COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))
SCORES = ("ece_15", "ece_15_floor", "adaptive_ece_15", "adaptive_ece_15_floor", "confidence_gap", "nll", "brier")
PARTS = ("reliability_share", "reliability_accuracy", "reliability_confidence")


class Calibration(Evaluator):
    """Calibration errors, proper scores and reliability bins on the test split, one pass over each split.

    Detail "scaled" is true for logits divided by a temperature fitted on the validation split, never on the test
    split; without a validation split those values are None. The risk-coverage numbers are of the logits as they are.
    """

    name: ClassVar[str] = "calibration"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Calibration and selective classification"

    def __init__(self, *, batch_size: Annotated[int, Ge(1)] = 512) -> None:
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order. BadInput for fewer than two classes or an empty split."""
        require_classes(self.name, context)
        for split in ("test", "validation"):
            if split == "test" or split in context.splits:
                require_images(self.name, f"the {split} split", context.split(split))
        selected = [metric_key("risk_at_coverage", {"coverage": coverage}) for coverage in COVERAGES]
        return [
            *(metric_key(*named) for named in _names(scaled=False)),
            *(metric_key(name, {}) for name in ("aurc", "risk_at_80_coverage", "coverage_at_5_risk")),
            *selected,
            metric_key("temperature", {}),
            *(metric_key(*named) for named in _names(scaled=True)),
        ]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        yield from (metric for metric in self._all(context, done) if metric.key not in done)

    def _all(self, context: Context, done: Done) -> Iterator[Metric]:
        logits, labels = self._predicted(context, "test")
        yield from calibration_metrics(logits, labels, scaled=False)
        yield from selective_metrics(logits, labels)
        key = metric_key("temperature", {})
        temperature = done[key] if key in done else self._temperature(context)
        yield Metric("temperature", temperature, {})
        if temperature is None:
            yield from (Metric(name, None, detail) for name, detail in _names(scaled=True))
        else:
            yield from calibration_metrics(logits.double() / temperature, labels, scaled=True)

    def _temperature(self, context: Context) -> float | None:
        return fit_temperature(*self._predicted(context, "validation")) if "validation" in context.splits else None

    def _predicted(self, context: Context, split: str) -> tuple[Tensor, Tensor]:
        return finite_predictions(
            self.name, f"the {split} split", context, context.split(split), batch_size=self.batch_size
        )


def calibration_metrics(logits: Tensor, labels: Tensor, *, scaled: bool) -> list[Metric]:
    """Scores and reliability bins of logits (N, K) as they are; `scaled` only goes into the detail."""
    values: dict[str, float] = {
        "ece_15": measures.calibration_error(logits, labels, BINS),
        "ece_15_floor": measures.calibration_floor(logits, BINS),
        "adaptive_ece_15": adaptive_calibration_error(logits, labels, BINS),
        "adaptive_ece_15_floor": adaptive_calibration_floor(logits, BINS),
        "confidence_gap": measures.confidence_gap(logits, labels),
        "nll": measures.negative_log_likelihood(logits, labels),
        "brier": measures.brier_score(logits, labels),
    }
    parts = dict(zip(PARTS, reliability(logits, labels, BINS), strict=True))
    return [
        Metric(name, parts[name][detail["bin"]] if name in parts else values[name], detail)
        for name, detail in _names(scaled=scaled)
    ]


def selective_metrics(logits: Tensor, labels: Tensor) -> list[Metric]:
    """Area under the risk-coverage curve, two points of it that papers name, and ten coverages."""
    risks = selective.risk_curve(logits, labels)
    return [
        Metric("aurc", selective.area_under_risk_coverage(risks), {}),
        Metric("risk_at_80_coverage", selective.risk_at_coverage(risks, 0.8), {}),
        Metric("coverage_at_5_risk", selective.coverage_at_risk(risks, 0.05), {}),
        *(
            Metric("risk_at_coverage", selective.risk_at_coverage(risks, coverage), {"coverage": coverage})
            for coverage in COVERAGES
        ),
    ]


def _names(*, scaled: bool) -> list[tuple[str, dict[str, Any]]]:
    return [
        *((name, {"scaled": scaled}) for name in SCORES),
        *((name, {"bin": place, "scaled": scaled}) for name in PARTS for place in range(BINS)),
    ]
