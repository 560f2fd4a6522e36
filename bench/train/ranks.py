"""The ranks that share a run: which of them a process is, and which images of a batch are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

FEWEST = 2
"""Images of a micro-batch that a rank must have: one image alone cannot be mixed."""


@dataclass(frozen=True)
class Ranks:
    """world_size ranks in `processes` processes, of which this one has number `process`.

    A process that has several ranks takes their parts of each step in turn and adds up the gradients, so the numbers of
    a run do not hang on how many processes share it, to float precision. control: torch.distributed's group for small
    messages between the hosts' memories, where there are several processes.
    """

    world_size: int = 1
    process: int = 0
    processes: int = 1
    control: Any = field(default=None, compare=False)

    @property
    def own(self) -> range:
        """The ranks that this process is."""
        return range(self.process, self.world_size, self.processes)

    @property
    def first(self) -> bool:
        """Whether this process writes the record."""
        return self.process == 0


ONE_RANK = Ranks()


class Part(NamedTuple):
    """One rank's images of one micro-batch: positions start to stop - 1 within the step's batch.

    weight: of the part's mean loss in the mean over the ranks, 1 on average. divisor: what its loss is divided by, so
    that the mean of the processes' gradients is that of the mean over all images of the micro-batches.
    """

    rank: int
    micro: int
    start: int
    stop: int
    weight: float
    divisor: float


def parts_of(ranks: Ranks, size: int, accumulation: int) -> list[Part]:
    """This process's parts of a step over `size` images, rank by rank; micro-batches are those of torch.chunk.

    A rank has a contiguous slice of each micro-batch; slices differ by one image at most. ValueError where one would
    have less than FEWEST images.
    """
    length = -(-size // accumulation)
    starts = range(0, size, length)
    parts: list[Part] = []
    for rank in ranks.own:
        for micro, begin in enumerate(starts):
            images = min(length, size - begin)
            low, high = (number * images // ranks.world_size for number in (rank, rank + 1))
            if ranks.world_size > 1 and high - low < FEWEST:
                raise ValueError(f"{images} images are too few for {ranks.world_size} ranks")
            share = (high - low) / images
            divisor = len(starts) / (share * ranks.processes)
            parts.append(Part(rank, micro, begin + low, begin + high, share * ranks.world_size, divisor))
    return parts


def rows_of(parts: Sequence[Part]) -> np.ndarray:
    """Positions (R,) int64 within a step's batch of the images of these parts, one part after the other."""
    return np.concatenate([np.arange(part.start, part.stop) for part in parts])
