"""What methods may be compared by: one number a run, named as the tables name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.errors import BadInput, nearest
from bench.records import RunRecord
from bench.report.attacks import attack_quantities, legacy_mean, legacy_quantities
from bench.report.calibration_tables import calibration_quantities
from bench.report.corruption_sets import corruption_sets
from bench.report.measurements import CLEAN, clean_metric, last_top1
from bench.report.ood_table import ood_means
from bench.report.quantity import Quantity, measured_only
from bench.report.readings import Readings
from bench.report.shift_table import consistency_means, occlusion_means

TOP1 = "top1"
_LOWER = {"nll", "brier", "ece", "error", "aurc", "risk", "fpr95"}
"""Words in the name of a metric of which less is better."""
_NEITHER = {"floor", "gap", "temperature", "coverage", "images"}
"""Words in the name of a metric that has no better end."""
_CLEAN = {
    "top5": ("test top-5", 100.0),
    "nll": ("negative log-likelihood on the test images, nats", 1.0),
    "brier": ("Brier score, sum over classes", 1.0),
    "ece_15": ("expected calibration error, 15 bins", 100.0),
}


@dataclass(frozen=True)
class ComparedMetric:
    """A number of each run. scale: 100 for shares, whose differences are told in points.

    direction: 1 where higher is better, -1 where lower is, 0 where neither is. value: before scaling, None where it
    was not measured.
    """

    name: str
    meaning: str
    scale: float
    direction: int
    value: Callable[[RunRecord], float | None]

    @property
    def unit(self) -> str:
        """What differences are told in, after a space; empty for a number without a unit."""
        return " points" if self.scale == 100 else ""

    @property
    def decimals(self) -> int:
        """Places after the point that differences are told with."""
        return 2 if self.scale == 100 else 4


def compared_metrics(readings: Readings) -> dict[str, ComparedMetric]:
    """Every metric that runs have, by name; the accuracy after the last epoch is always there."""
    found = {TOP1: ComparedMetric(TOP1, "test top-1 after the last epoch", 100.0, 1, last_top1)}
    for name, (meaning, scale) in _CLEAN.items():
        if any(one.arm == CLEAN and readings.measured(one) for one in readings.bare(name)):
            found[name] = ComparedMetric(
                name, meaning, scale, _direction(name), lambda run, name=name: clean_metric(run, name)
            )
    for one in measured_only(readings, _quantities(readings)):
        metric = ComparedMetric(
            one.name, one.meaning.removesuffix(", %"), one.scale, _direction(one.name),
            lambda run, one=one: one.value(readings, run),
        )  # fmt: skip
        found.setdefault(one.name, metric)
    return found


def find_metric(name: str, readings: Readings) -> ComparedMetric:
    """A metric by its name, with spaces or hyphens for underscores as one likes. BadInput names the nearest."""
    known = compared_metrics(readings)
    wanted = "_".join(name.lower().replace("-", " ").split())
    plain = {one.lower().replace("-", "_"): one for one in known}
    if wanted not in plain:
        raise BadInput(f"--metric: no run has a metric '{name}'; {nearest(wanted, known)}")
    return known[plain[wanted]]


def _quantities(readings: Readings) -> Iterator[Quantity]:
    for found in corruption_sets(readings):
        yield from (one for one in (found.mean, found.extra_mean, found.error) if one is not None)
        yield from found.all
    for label, legacy in legacy_quantities(readings).items():
        yield from (legacy_mean(label, legacy), *legacy)
    yield from attack_quantities(readings)
    yield from calibration_quantities(readings)
    yield from (*ood_means(readings), *occlusion_means(readings), *consistency_means(readings))


def _direction(name: str) -> int:
    words = set(name.lower().split("_"))
    if words & _NEITHER:
        return 0
    return -1 if words & _LOWER else 1
