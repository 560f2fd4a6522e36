"""Feeds over images that lie on the device as uint8: no worker processes, no copies, augmented in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.data.augment import crop_and_resize, resize, shift_and_flip
from bench.data.draws import CropDraws, epoch_crops, epoch_order
from bench.data.feeds import Transform, order_of_rows, steps_per_epoch
from bench.spec import DataSpec

DEVICE_VALUES = 2**23
"""Pixel values that an accelerator augments at once: 2,730 images of CIFAR; a batch of larger images is a block."""


class ResidentTrain:
    """A TrainFeed. images uint8 (N, C, h, w) and labels (N,) int64 on one device.

    Images of another size than `data.resolution` are resized batch by batch, before crops and flips: crop_padding
    and random_resized boxes are in pixels of what the network sees.
    """

    def __init__(self, images: Tensor, labels: Tensor, data: DataSpec) -> None:
        self.images, self.labels, self.data = images, labels, data
        self.size = len(images)

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return steps_per_epoch(self.size, batch_size)

    def epoch(
        self, seed: int, epoch: int, batch_size: int, start_step: int = 0, rows: np.ndarray | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of an epoch from a step on, or these rows of them."""
        steps = self.steps(batch_size)
        order = epoch_order(seed, epoch, self.size)
        if rows is not None:
            order, batch_size = order_of_rows(order, batch_size, rows), len(rows)
        order = self._moved(order)
        draws = epoch_crops(seed, epoch, self.data, self.size)
        flips = self._moved(draws.flips)
        places = self._moved(_places(draws))
        block = self._block(batch_size)
        for first in range(start_step, steps, block):
            index = order[first * batch_size : min(first + block, steps) * batch_size]
            images, labels = self._augmented(index, flips[index], places[index]), self.labels[index]
            yield from zip(images.split(batch_size), labels.split(batch_size), strict=True)

    def _block(self, batch_size: int) -> int:
        """Batches that are augmented at once. An accelerator would be held up by launches if it took them singly; a
        CPU would leave its cache if it did not."""
        if self.images.device.type == "cpu":
            return 1
        return max(1, DEVICE_VALUES // (batch_size * self.data.channels * self.data.resolution**2))

    def _augmented(self, index: Tensor, flips: Tensor, places: Tensor) -> Tensor:
        data, images = self.data, self.images
        if images.shape[2:] != (data.resolution, data.resolution):
            images = resize(images.index_select(0, index), data.resolution)
            index = torch.arange(len(index), device=index.device)
        if data.crop == "random_resized":
            return crop_and_resize(images.index_select(0, index), places, flips)
        if data.crop == "pad":
            return shift_and_flip(images, index, flips, places, data.crop_padding, data.padding_mode)
        return shift_and_flip(images, index, flips) if data.flip else images.index_select(0, index)

    def _moved(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.images.device)


def _places(draws: CropDraws) -> np.ndarray:
    if draws.shifts is not None:
        return draws.shifts
    return draws.boxes if draws.boxes is not None else np.zeros((len(draws.flips), 0), dtype=np.int64)


class ResidentEval:
    """An EvalFeed. images uint8 (N, C, h, w) on the device; labels (N,) int64 on the CPU."""

    def __init__(self, images: Tensor, labels: Tensor, resolution: int) -> None:
        self.images, self.labels, self.resolution = images, labels, resolution
        self.size = len(images)
        channels, height, width = images.shape[1:]
        self.native: tuple[int, int, int] | None = (channels, height, width)
        self._targets = labels.to(images.device)

    def batches(
        self, batch_size: int, transform: Transform | None = None, dealt: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in order."""
        first, every = dealt
        for start in range(first * batch_size, self.size, every * batch_size):
            images = self.images[start : start + batch_size].clone()
            if transform is not None:
                positions = torch.arange(start, start + len(images), device=images.device)
                images = checked(transform(images, positions), images.shape)
            yield resize(images, self.resolution), self._targets[start : start + batch_size]


def checked(images: Tensor, shape: torch.Size) -> Tensor:
    """What a transform gave, after a look at its shape. ValueError where it changed."""
    if images.shape != shape:
        raise ValueError(f"a transform turned images {tuple(shape)} into {tuple(images.shape)}; it must keep the shape")
    return images
