"""A feed over images that are made or read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.data.augment import resize
from bench.evals.api import Transform


class LoadedFeed:
    """An EvalFeed of unlabelled images (label -1). Memory is that of a batch.

    load: positions (B,) int64 on the device to uint8 images (B, C, H, W) there. native: their (C, H, W).
    """

    def __init__(
        self, size: int, native: tuple[int, int, int], resolution: int, device: torch.device,
        load: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        self.size, self.resolution, self.device, self.load = size, resolution, device, load
        self.native: tuple[int, int, int] | None = native
        self.labels = torch.full((size,), -1, dtype=torch.int64)

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in order."""
        for start in range(0, self.size, batch_size):
            positions = torch.arange(start, min(start + batch_size, self.size), device=self.device)
            images = self.load(positions)
            if transform is not None:
                images = transform(images, positions)
            yield resize(images, self.resolution), torch.full_like(positions, -1)
