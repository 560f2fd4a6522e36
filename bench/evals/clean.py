"""Accuracy, likelihood and calibration on untouched images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from bench.evals import measures
from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.forward import Predictions, predictions


class Clean(Evaluator):
    """Top-1, top-5, NLL, Brier, ECE-15 with its noise floor, and confidence minus accuracy, in one pass."""

    name: ClassVar[str] = "clean"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Clean accuracy and calibration"

    def __init__(
        self, *, split: Literal["test", "validation"] = "test", batch_size: Annotated[int, Ge(1)] = 512
    ) -> None:
        self.split = split
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key(name, {}) for name in clean_names(context.num_classes)]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        for metric in clean_metrics(predictions(context, self.split, batch_size=self.batch_size)):
            if metric.key not in done:
                yield metric


def clean_names(num_classes: int) -> list[str]:
    """Names of the clean metrics; top-5 needs more than 5 classes."""
    top = ["top1", "top5"] if num_classes > 5 else ["top1"]
    return [*top, "nll", "brier", "ece_15", "ece_15_floor", "confidence_gap"]


def clean_metrics(predicted: Predictions) -> list[Metric]:
    """The clean metrics of predictions that were made already, such as the last epoch's."""
    logits, labels = predicted
    values = {
        "top1": measures.top_k_accuracy(logits, labels),
        "nll": measures.negative_log_likelihood(logits, labels),
        "brier": measures.brier_score(logits, labels),
        "ece_15": measures.calibration_error(logits, labels),
        "ece_15_floor": measures.calibration_floor(logits),
        "confidence_gap": measures.confidence_gap(logits, labels),
    }
    if logits.shape[1] > 5:
        values["top5"] = measures.top_k_accuracy(logits, labels, 5)
    return [Metric(name, values[name], {}) for name in clean_names(logits.shape[1])]
