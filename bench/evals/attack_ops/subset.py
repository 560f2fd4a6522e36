"""The images that are attacked, and the function that is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.evals.api import EvalFeed

PixelModel = Callable[[Tensor], Tensor]
"""Pixels (B, C, H, W) in [0, 1] to logits (B, K) float32; normalisation is part of it."""


class ImageBatch(NamedTuple):
    """Images to attack, on the device."""

    pixels: Tensor
    """(B, C, H, W) contiguous float32 in [0, 1]."""
    labels: Tensor
    """(B,) int64."""
    positions: Tensor
    """(B,) int64, positions in the split: random starts are keyed by them."""

    def select(self, mask: Tensor) -> ImageBatch:
        """The images where mask (B,) is true."""
        return ImageBatch(self.pixels[mask], self.labels[mask], self.positions[mask])


def pixel_model(backbone: nn.Module, normalise: Callable[[Tensor], Tensor]) -> PixelModel:
    """The attacked function of a network that takes normalised images; `normalise` is of images in [0, 255]."""
    return lambda pixels: backbone(normalise(pixels * 255)).float()


def subset_size(feed: EvalFeed, per_class: int) -> int:
    """How many images `attacked_subset` gives."""
    return int(first_per_class(feed.labels.cpu(), per_class).sum()) if per_class else feed.size


def attacked_subset(feed: EvalFeed, per_class: int, batch_size: int) -> Iterator[ImageBatch]:
    """All images of a feed, or the first `per_class` of each class (0: all), in full batches but for the last."""
    chosen = first_per_class(feed.labels.cpu(), per_class) if per_class else torch.ones(feed.size, dtype=torch.bool)
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    count = start = 0
    for images, labels in feed.batches(batch_size):
        keep = chosen[start : start + len(labels)].to(labels.device)
        positions = torch.arange(start, start + len(labels), device=labels.device)
        start += len(labels)
        waiting.append((images[keep], labels[keep], positions[keep]))
        count += len(waiting[-1][1])
        if count >= batch_size or (start == feed.size and count):
            images, labels, positions = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            while len(labels) >= batch_size or (start == feed.size and len(labels)):
                yield _batch(images[:batch_size], labels[:batch_size], positions[:batch_size])
                images, labels, positions = images[batch_size:], labels[batch_size:], positions[batch_size:]
            waiting, count = [(images, labels, positions)], len(labels)


def first_per_class(labels: Tensor, count: int) -> Tensor:
    """Mask (N,) of the first `count` images of each class, in order."""
    one_hot = F.one_hot(labels)
    rank = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1)
    return rank <= count


def _batch(images: Tensor, labels: Tensor, positions: Tensor) -> ImageBatch:
    return ImageBatch((images.float() / 255).contiguous(), labels, positions)
