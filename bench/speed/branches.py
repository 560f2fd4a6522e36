"""Which branches a method's steps take, and how often: a step's cost hangs on its branch, so rounds must not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.train.training import Training

MOST_DRAWS = 512
"""Steps of the run, evenly spread, whose draws are looked at."""


@dataclass(frozen=True)
class Branch:
    """One branch of a method. share: of the run's steps, in (0, 1]. steps: (epoch, step) of some that take it."""

    share: float
    steps: list[tuple[int, int]]


def find_branches(training: Training, images: Tensor, most: int = MOST_DRAWS) -> dict[str, Branch]:
    """The branches of the run's own draws, by name, the most frequent first.

    images: a micro-batch, for its shape (B, C, H, W). Of a run of at most `most` steps every step is looked at, so the
    shares are exact; of a longer one so many, evenly spread.
    """
    length = training.steps_per_epoch
    total = training.protocol.epochs * length
    count = min(total, most)
    found: dict[str, list[tuple[int, int]]] = {}
    for place in range(count):
        epoch, step = divmod(place * total // count, length)
        found.setdefault(training.draws(epoch, step, 0, images).branch, []).append((epoch, step))
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {name: Branch(len(steps) / count, steps) for name, steps in ordered}


def quotas(shares: dict[str, float], steps: int) -> dict[str, int]:
    """How many steps of a round each branch gets: at least one each, the rest where the share is least fulfilled."""
    counts = dict.fromkeys(shares, 1)
    for _ in range(steps - len(shares)):
        neediest = max(shares, key=lambda name: shares[name] / (counts[name] + 1))
        counts[neediest] += 1
    return counts
