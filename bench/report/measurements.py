"""Numbers of single runs, read from their records. Shares are in [0, 1]; None is what was not measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from bench.records import RunRecord

CLEAN = "clean"
"""The evaluator arm that the accuracy table reads."""


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if type(value) is float or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float(value) if math.isfinite(value) else None
    return None


def last_top1(run: RunRecord) -> float | None:
    """Test top-1 after the last epoch; of a network trained elsewhere the clean evaluator's."""
    return _top1(run.training.last) if run.training.epochs else clean_metric(run, "top1")


def best_top1(run: RunRecord) -> float | None:
    """The highest test top-1 of any epoch: selected on test, not to be ranked by."""
    return run.training.best_top1


def test_images(run: RunRecord) -> int | None:
    """How many test images the last epoch was measured on."""
    count = number(inside(run.training.last, "test").get("n"))
    return int(count) if count else None


def clean_metric(run: RunRecord, name: str) -> float | None:
    """A number of the clean evaluator by name, such as "nll"."""
    return clean_metrics(run, [name])[0]


def clean_metrics(run: RunRecord, names: Sequence[str]) -> list[float | None]:
    """Numbers of the clean evaluator by name; of several lines of one name the first."""
    found = run.evaluation_summary(CLEAN)
    if found is None:
        return [None] * len(names)
    values: dict[str, Any] = {}
    for line, value in zip(found.measures, found.values, strict=True):
        if (name := str(line.get("name"))) in names:
            values.setdefault(name, value)
    return [number(values.get(name)) for name in names]


def diagnostic(run: RunRecord, name: str) -> float | None:
    """A diagnostic by name."""
    return number(run.diagnostics.get(name))


def by_seed(runs: dict[int, RunRecord], measure: Callable[[RunRecord], float | None]) -> dict[int, float]:
    """The runs' values by seed, without those that were not measured."""
    return {seed: value for seed, run in runs.items() if (value := measure(run)) is not None}


def _top1(line: dict[str, Any]) -> float | None:
    return number(inside(line, "test").get("top1"))


def inside(line: dict[str, Any], name: str) -> dict[str, Any]:
    """An object within a record line; empty where it is null or absent."""
    value = line.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
