"""The share of their own label that images keep, over many draws.

Where the share of a step is a simple function of one drawn tensor (lam, or a box), the draws alone are averaged and no
network runs; else steps are taken. Steps are counted, not their images, even where every image has a share of its own:
some draw of every method here (lam, a box, the coin that decides whether to mix) is one for the whole batch, so that
the images of a step are not independent.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from bench.evals.mixed_labels import Step
from methods.api import BatchShape, Draws
from methods.ops.boxes import share_outside

CHECKED = 64
"""Steps on which a share is compared with the draws before the draws alone are believed."""
TOLERANCE = 1e-6

DRAWN, STEPS = "draws", "steps"
"""What was counted."""

Reading = Callable[[Tensor, BatchShape], float]


def _mean(drawn: Tensor, shape: BatchShape) -> float:
    return float(drawn.double().mean())


def _half_of_it_unmixed(drawn: Tensor, shape: BatchShape) -> float:
    return (1 + _mean(drawn, shape)) / 2


def _outside(box: Tensor, shape: BatchShape) -> float:
    return float(share_outside(box, shape.height, shape.width))


@dataclass(frozen=True)
class Kept:
    """shares: one a draw or step. how: DRAWN or STEPS."""

    shares: list[float]
    how: str

    def summary(self) -> dict[str, float | int | str]:
        """Mean, its standard error, and over how many of what."""
        error = statistics.stdev(self.shares) / len(self.shares) ** 0.5
        mean = round(statistics.fmean(self.shares), 4)
        return {"mean": mean, "standard_error": round(error, 4), "count": len(self.shares), "of": self.how}


def measure(take_step: Callable[[int], Step], draw: Callable[[int], Draws], shape: BatchShape, count: int) -> Kept:
    """Shares of steps 0, 1, ... of one method. take_step: a whole step. draw: its draws alone, the same ones.

    shape: of the batches.
    """
    first = [take_step(number) for number in range(min(CHECKED, count))]
    readings = find_readings(first, shape)
    shares = [share_of(step) for step in first]
    for number in range(len(shares), count):
        read = None
        if readings and (drawn := draw(number)).branch in readings:
            name, reading = readings[drawn.branch]
            read = reading(drawn[name], shape)
        shares.append(share_of(take_step(number)) if read is None else read)
    return Kept(shares, DRAWN if readings else STEPS)


def find_readings(steps: list[Step], shape: BatchShape) -> Mapping[str, tuple[str, Reading]] | None:
    """For each branch a drawn tensor and what of it was the share in all its steps; None where a branch has none."""
    found: dict[str, tuple[str, Reading]] = {}
    for branch in {step.draws.branch for step in steps}:
        of_branch = [step for step in steps if step.draws.branch == branch]
        fitting = [
            (name, reading)
            for name, tensor in of_branch[0].draws.tensors.items()
            for reading in _readings(tensor)
            if all(abs(reading(step.draws[name], shape) - share_of(step)) < TOLERANCE for step in of_branch)
        ]
        if not fitting:
            return None
        found[branch] = fitting[0]
    return found


def _readings(tensor: Tensor) -> tuple[Reading, ...]:
    if tensor.is_floating_point() and tensor.numel():
        return _mean, _half_of_it_unmixed
    return (_outside,) if tensor.shape == (4,) else ()


def share_of(step: Step) -> float:
    """The share kept of a method that mixes."""
    assert step.share_kept is not None
    return step.share_kept
