"""Feeds over images that are read anew in every epoch, by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench.data.arrival import arrival, copying
from bench.data.draws import epoch_order
from bench.data.feeds import EvalFeed, Transform, order_of_rows, steps_per_epoch
from bench.data.listing import Listing, StreamingSource
from bench.data.prefetch import on_device
from bench.data.resident import checked
from bench.data.selection import Selection, samples_of
from bench.data.streaming_worker import ImageBatches, Refusal, Request, rand_augment
from bench.errors import BadInput
from bench.spec import DataSpec


def open_streaming(
    data: DataSpec, source: StreamingSource, listing: Listing, selection: Selection, device: torch.device
) -> tuple[StreamingTrain, dict[str, EvalFeed]]:
    """Feeds over the splits. What cannot work, such as a RandAugment text, is BadInput here, not in a worker."""
    if data.rand_augment is not None:
        rand_augment(data)
    arrive = arrival(data, device)
    loaders, labels = {}, {}
    for split, positions in selection.items():
        part = "test" if samples_of(listing, split) is listing.test else "train"
        batches = ImageBatches(source.reader(part), positions, data)
        loaders[split] = BatchLoader(batches, device, split == "train", arrive if split == "train" else None)
        labels[split] = torch.from_numpy(samples_of(listing, split).labels[positions])
    evaluation: dict[str, EvalFeed] = {}
    for split in loaders.keys() - {"train"}:
        evaluation[split] = StreamingEval(loaders[split], labels[split], data)
    return StreamingTrain(loaders["train"], labels["train"]), evaluation


class BatchLoader:
    """Worker processes that answer requests in order. persistent: they outlive an epoch.

    arrive: makes images on the device of an answer; None copies the images that the answer is.
    """

    def __init__(
        self, batches: ImageBatches, device: torch.device, persistent: bool,
        arrive: Callable[[Any], Tensor] | None = None,
    ) -> None:  # fmt: skip
        self.device = device
        self.arrive = arrive or copying(device)
        self.requests: list[Request] = []
        workers = batches.data.workers
        self.loader: DataLoader[Any] = DataLoader(
            batches,
            batch_size=None,
            sampler=_Plan(self.requests),
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            pin_memory=device.type == "cuda",
            # a generator of its own: else each epoch would draw a number from torch's global one
            generator=torch.Generator(),
        )

    def answers(self, requests: list[Request]) -> Iterator[Tensor]:
        """uint8 images (B, C, resolution, resolution) on the device, one batch a request. BadInput from a worker."""
        self.requests[:] = requests
        return on_device(self._answers(), self.device, self.arrive)

    def _answers(self) -> Iterator[Any]:
        for answer in self.loader:
            if isinstance(answer, Refusal):
                raise BadInput(answer.reason)
            yield answer


class _Plan:
    """A sampler that hands out the requests as they are when an epoch begins."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self.requests))

    def __len__(self) -> int:
        return len(self.requests)


class StreamingTrain:
    """A TrainFeed. labels (N,) int64 on the CPU."""

    def __init__(self, loader: BatchLoader, labels: Tensor) -> None:
        self.loader, self.labels = loader, labels
        self.size = len(labels)

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return steps_per_epoch(self.size, batch_size)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, start_step: int = 0, rows: np.ndarray | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of an epoch from a step on, or these rows of them."""
        order = epoch_order(seed, epoch, self.size)
        steps = range(start_step, self.steps(batch_size))
        if rows is not None:
            order, batch_size = order_of_rows(order, batch_size, rows), len(rows)
        cuts = [order[step * batch_size : (step + 1) * batch_size] for step in steps]
        requests = [Request(positions, seed, epoch) for positions in cuts]
        for positions, images in zip(cuts, self.loader.answers(requests), strict=True):
            yield images, self.labels[torch.from_numpy(positions)].to(images.device, non_blocking=True)


class StreamingEval:
    """An EvalFeed. A transform is given images at the resolution: stored ones differ in size."""

    def __init__(self, loader: BatchLoader, labels: Tensor, data: DataSpec) -> None:
        self.loader, self.labels = loader, labels
        self.size = len(labels)
        self.native: tuple[int, int, int] | None = (data.channels, data.resolution, data.resolution)

    def batches(
        self, batch_size: int, transform: Transform | None = None, dealt: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in order."""
        first, every = dealt
        starts = range(first * batch_size, self.size, every * batch_size)
        requests = [Request(np.arange(start, min(start + batch_size, self.size))) for start in starts]
        for request, images in zip(requests, self.loader.answers(requests), strict=True):
            positions = torch.from_numpy(request.positions)
            if transform is not None:
                images = checked(transform(images, positions.to(images.device)), images.shape)
            yield images, self.labels[positions].to(images.device, non_blocking=True)
