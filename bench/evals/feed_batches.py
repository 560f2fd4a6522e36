"""Batches of a split together with the images' positions, in order, or sampled into shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.evals.api import EvalFeed
from methods.ops.keys import Key

READ_SIZE = 256
"""Images read at once while a pool is collected."""


def indexed_batches(feed: EvalFeed, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Positions in the split (B,) int64, uint8 images (B, C, R, R) and labels (B,), all on the device, in order."""
    start = 0
    for images, labels in feed.batches(batch_size):
        yield torch.arange(start, start + len(labels), device=images.device), images, labels
        start += len(labels)


def sampled_batches(feed: EvalFeed, key: Key, *, pool: int, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches of `size` different images, drawn from `pool` images that are themselves drawn from the split.

    Classes are as mixed as in training, also where the split is sorted by class. One pass over the split; the pool is
    held in memory. Images uint8 (size, C, R, R) and labels (size,); smaller where pool or split are.
    """
    images, labels = _collected(feed, key, pool)
    for step in range(steps):
        order = key.fold("batch", step).generator().permutation(len(labels))[:size]
        chosen = torch.from_numpy(order).to(labels.device)
        yield images[chosen], labels[chosen]


def _collected(feed: EvalFeed, key: Key, pool: int) -> tuple[Tensor, Tensor]:
    wanted = torch.zeros(feed.size, dtype=torch.bool)
    wanted[torch.from_numpy(key.fold("pool").generator().permutation(feed.size)[:pool])] = True
    kept_images, kept_labels = [], []
    for index, images, labels in indexed_batches(feed, READ_SIZE):
        keep = wanted.to(index.device)[index]
        kept_images.append(images[keep])
        kept_labels.append(labels[keep])
    return torch.cat(kept_images), torch.cat(kept_labels)
