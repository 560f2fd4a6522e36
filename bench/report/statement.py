"""What a study can and cannot show, said in one line from its own numbers."""

from __future__ import annotations

import math

from bench.report.measurements import test_images
from bench.report.study import Cell, Study
from bench.stats import LEVEL, POWER, Variance, detectable_difference, mean


def statements(study: Study) -> list[str]:
    """One line a cell."""
    return [f"{cell.title}: {_statement(cell, study.reference)}" for cell in study.cells]


def _statement(cell: Cell, reference: str) -> str:
    top1 = {row.arm: row.top1 for row in cell.rows if row.top1}
    if cell.base is None or cell.base.arm not in top1:
        return f"shows no differences, since no run of {reference} ended ok."
    base = top1[cell.base.arm]
    pairs = {arm: len(values.keys() & base.keys()) for arm, values in top1.items() if arm != cell.base.arm}
    seeds = max(pairs.values(), default=0)
    variance = cell.variance
    if not seeds:
        return f"shows no differences, since no other method has a finished run with a seed of {reference}'s."
    if variance is None:
        return f"{_seeds(seeds)} cannot tell a difference to {reference} from chance; run at least 2 seeds."
    detectable = detectable_difference(variance, seeds) * 100
    if detectable < 1e-6:
        return "the seed makes no difference to any method, so nothing can be said about chance."
    more = detectable_difference(Variance(variance.value, _df(len(top1), 2 * seeds)), 2 * seeds) * 100
    return (
        f"{_seeds(seeds)} show a true difference to {reference} of {detectable:.1f} points with {POWER:.0%} "
        f"probability, smaller ones less often ({2 * seeds} seeds: {more:.1f}); intervals are {LEVEL:.0%} each, "
        f"{len(pairs)} compared; "
        f"{_test_set(cell, mean(list(base.values())))}nothing follows for other data, networks or training lengths."
    )


def _df(methods: int, seeds: int) -> int:
    return (methods - 1) * (seeds - 1)


def _seeds(count: int) -> str:
    return f"{count} seed" + ("" if count == 1 else "s")


def _test_set(cell: Cell, accuracy: float) -> str:
    """How well the test set itself pins down an accuracy: two binomial standard errors."""
    counts = {count for row in cell.rows for run in row.ok.values() if (count := test_images(run))}
    if len(counts) != 1:
        return ""
    count = counts.pop()
    reach = 200 * math.sqrt(accuracy * (1 - accuracy) / count)
    return f"{count} test images leave +-{reach:.1f} points on any accuracy; "
