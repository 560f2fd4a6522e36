"""A split held in memory, for images that do not come from bench.data, such as published corrupted sets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.evals.api import Transform


class TensorFeed:
    """An EvalFeed over uint8 images (N, C, H, W), on the CPU or memory-mapped, served at their own size."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device | None = None) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
        self.images = images
        self.labels = labels
        self.device = device or images.device
        self.size = len(labels)
        self.native: tuple[int, int, int] | None = (images.shape[1], images.shape[2], images.shape[3])

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 images and labels on the device, in order."""
        for start in range(0, self.size, batch_size):
            images = self.images[start : start + batch_size].to(self.device)
            if transform is not None:
                images = transform(images, torch.arange(start, start + len(images), device=self.device))
            yield images, self.labels[start : start + batch_size].to(self.device)
