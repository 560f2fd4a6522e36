"""Numbers of single runs, read from their records. Shares are in [0, 1]; None is what was not measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from bench.records import RunRecord

CLEAN = "clean"
"""The evaluator arm that the accuracy table reads."""


def number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
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
    found = run.evaluation_summary(CLEAN)
    if found is None:
        return None
    pairs = zip(found.measures, found.values, strict=True)
    return next((number(value) for line, value in pairs if line.get("name") == name), None)


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
