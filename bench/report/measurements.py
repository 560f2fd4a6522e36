"""Numbers of single runs, read from their records. Shares are in [0, 1]; None is what was not measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from bench.records import RunRecord
from bench.report.study import Cell

CLEAN = "clean"
"""The evaluator arm that the accuracy table reads."""


class Family(NamedTuple):
    """A group of accuracies under attack or corruption, made by one evaluator arm with one set of settings.

    name: beginning of its column names. evaluator: the arm. digest: of its settings. title: for people. conditions:
    column name to the metric keys whose mean it shows.
    """

    name: str
    evaluator: str
    digest: str
    title: str
    conditions: dict[str, list[str]]


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def last_top1(run: RunRecord) -> float | None:
    """Test top-1 after the last epoch."""
    return _top1(run.epochs[-1]) if run.epochs else None


def best_top1(run: RunRecord) -> float | None:
    """The highest test top-1 of any epoch: selected on test, not to be ranked by."""
    return max((top1 for line in run.epochs if (top1 := _top1(line)) is not None), default=None)


def test_images(run: RunRecord) -> int | None:
    """How many test images the last epoch was measured on."""
    count = number(_inside(run.epochs[-1], "test").get("n")) if run.epochs else None
    return int(count) if count else None


def clean_metric(run: RunRecord, name: str) -> float | None:
    """A number of the clean evaluator by name, such as "nll"."""
    return next((number(line.get("value")) for line in run.metrics(CLEAN) if line.get("name") == name), None)


def diagnostic(run: RunRecord, name: str) -> float | None:
    """A diagnostic by name."""
    return number(run.diagnostics.get(name))


def by_seed(runs: dict[int, RunRecord], measure: Callable[[RunRecord], float | None]) -> dict[int, float]:
    """The runs' values by seed, without those that were not measured."""
    return {seed: value for seed, run in runs.items() if (value := measure(run)) is not None}


def families(cells: Iterable[Cell], metric: str, detail: str, name: str) -> list[Family]:
    """All evaluator arms that recorded `metric`, with the conditions that any run has, told apart by `detail`.

    Where runs of one arm were made with different settings, those of most runs are shown. One family is called
    `name`; of several each by its evaluator arm.
    """
    found: dict[str, dict[str, list[RunRecord]]] = {}
    for cell in cells:
        for row in cell.rows:
            for run in row.ok.values():
                for evaluator in run.evaluations:
                    evaluation = run.evaluation(evaluator)
                    if any(line.get("name") == metric for line in evaluation.metrics):
                        digests = found.setdefault(evaluator, {})
                        digests.setdefault(str(evaluation.begin.get("digest")), []).append(run)
    made: list[Family] = []
    for evaluator, digests in sorted(found.items()):
        digest, runs = max(digests.items(), key=lambda item: (len(item[1]), item[0]))
        title = str(runs[0].evaluation(evaluator).begin.get("title") or evaluator)
        label = name if len(found) == 1 else evaluator
        made.append(Family(label, evaluator, digest, title, _conditions(evaluator, runs, metric, detail)))
    return made


def family_values(family: Family, run: RunRecord) -> dict[str, float]:
    """A run's accuracy under each condition, as far as all of the condition's parts were measured."""
    evaluation = run.evaluation(family.evaluator)
    if str(evaluation.begin.get("digest")) != family.digest:
        return {}
    values = {metric_key(line): number(line.get("value")) for line in evaluation.metrics}
    measured: dict[str, float] = {}
    for condition, keys in family.conditions.items():
        parts = [value for key in keys if (value := values.get(key)) is not None]
        if len(parts) == len(keys):
            measured[condition] = math.fsum(parts) / len(parts)
    return measured


def metric_key(line: dict[str, Any]) -> str:
    """Name and detail of a metric line as one string."""
    return f"{line.get('name')} {sorted(_inside(line, 'detail').items())}"


def _conditions(evaluator: str, runs: list[RunRecord], metric: str, detail: str) -> dict[str, list[str]]:
    found: dict[Any, set[str]] = {}
    for run in runs:
        for line in run.metrics(evaluator):
            condition = _inside(line, "detail").get(detail)
            if line.get("name") == metric and condition is not None:
                found.setdefault(condition, set()).add(metric_key(line))
    numeric = all(isinstance(condition, int | float) for condition in found)
    ordered = sorted(found, key=(lambda condition: condition) if numeric else str)
    return {f"{condition:g}" if numeric else str(condition): sorted(found[condition]) for condition in ordered}


def _top1(line: dict[str, Any]) -> float | None:
    return number(_inside(line, "test").get("top1"))


def _inside(line: dict[str, Any], name: str) -> dict[str, Any]:
    """An object within a line; empty where it is null or absent."""
    value = line.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
