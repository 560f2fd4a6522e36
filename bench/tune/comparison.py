"""Default against tuned settings on the test images, from runs with the suite's own seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import RunRecord
from bench.report.measurements import by_seed, last_top1
from bench.stats import Interval, compare, mean, mean_interval
from bench.sweep.todo import Todo
from bench.tune.plan import cell_names

ByArm = dict[tuple[tuple[str, str, str], str], "Runs"]


@dataclass(frozen=True)
class Runs:
    """A method's runs in a cell: its id without seed, and what ended ok, by seed."""

    arm: str
    ok: dict[int, RunRecord]
    planned: int

    @property
    def top1(self) -> dict[int, float]:
        """Test top-1 after the last epoch, by seed."""
        return by_seed(self.ok, last_top1)


@dataclass(frozen=True)
class Gap:
    """Tuned minus default, as a share. interval: None where chance cannot be told; value: None without common seeds."""

    value: float | None
    interval: Interval | None


def runs_by_arm(todo: Sequence[Todo]) -> ByArm:
    """The finished runs of a suite by cell names and method."""
    found: ByArm = {}
    for item in todo:
        key = (cell_names(item.spec), item.spec.labels.method)
        earlier = found.get(key, Runs(item.spec.arm, {}, 0))
        good = {item.spec.seed: item.record} if item.record is not None and item.record.status == "ok" else {}
        found[key] = Runs(earlier.arm, {**earlier.ok, **good}, earlier.planned + 1)
    return found


def own_interval(runs: Runs) -> Interval | None:
    """t interval of a method's mean from its own seeds."""
    return mean_interval(list(runs.top1.values()))


def gaps(default: Mapping[str, Runs], tuned: Mapping[str, Runs]) -> dict[str, Gap]:
    """By method tuned minus default, paired by seed, for the methods of one cell.

    The variance is that of `bench.stats.compare` over all different rows, default and tuned ones together. Equal
    settings are the same runs: their gap is 0 by definition and has no interval.
    """
    rows = {runs.arm: runs.top1 for runs in [*default.values(), *tuned.values()] if runs.ok}
    found: dict[str, Gap] = {}
    for method, after in tuned.items():
        before = default[method]
        common = before.top1.keys() & after.top1.keys()
        value = mean([after.top1[seed] - before.top1[seed] for seed in sorted(common)]) if common else None
        told = compare(rows, before.arm).intervals.get(after.arm) if before.arm in rows else None
        found[method] = Gap(value, told)
    return found
