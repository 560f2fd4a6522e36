"""What training and evaluation are fed with, whatever the data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from bench.data.facts import DataFacts

Transform = Callable[[Tensor, Tensor], Tensor]
"""(uint8 images (B, C, H, W) at their native size, their positions in the split (B,) int64, both on the device) to
images of the same shape, uint8 or floating in [0, 255]. It may write into what it is given."""


class TrainFeed(Protocol):
    """The training images, `size` of them."""

    size: int

    def steps(self, batch_size: int) -> int:
        """Batches an epoch: size // batch_size (a last partial batch is dropped), but 1 for a split below a batch."""
        ...

    def epoch(
        self, seed: int, epoch: int, batch_size: int, start_step: int = 0, rows: np.ndarray | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of an epoch from a step on: uint8 (B, C, resolution, resolution), cropped and flipped; labels (B,).

        Both on the device; labels int64. Order, crops and flips hang on (seed, epoch) and each image's position in the
        split alone. rows: positions (R,) int64 within a batch, of which alone images are given, in that order.
        """
        ...


class EvalFeed(Protocol):
    """One evaluation split in its fixed order."""

    size: int
    labels: Tensor
    """(size,) int64 on the CPU, in the order of the batches."""
    native: tuple[int, int, int] | None
    """(C, H, W) of what a transform is given."""

    def batches(
        self, batch_size: int, transform: Transform | None = None, dealt: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 images (B, C, resolution, resolution) and labels (B,) int64 on the device; the last may be smaller.

        `transform` is applied before images are resized to the resolution; floating images that it gives stay so.
        dealt: (p, n) gives batches p, p + n, p + 2 n, ... only, so that n processes share a split.
        """
        ...


@dataclass(frozen=True)
class Splits:
    """evaluation has "test" always, "validation" where data.validation is above 0, "held_out" (labels all -1) where
    data.held_out_classes names some."""

    train: TrainFeed
    evaluation: Mapping[str, EvalFeed]
    facts: DataFacts


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Full batches of an epoch, but 1 for a split smaller than a batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} is not positive")
    return max(1, size // batch_size)


def order_of_rows(order: np.ndarray, batch_size: int, rows: np.ndarray) -> np.ndarray:
    """The part of an epoch's order (N,) that stands at these positions of its full batches, batch by batch."""
    size = min(batch_size, len(order))
    return order[: len(order) // size * size].reshape(-1, size)[:, rows].reshape(-1)
