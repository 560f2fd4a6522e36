"""Crop, flip and normalise: batches that lie on the device against loaders that go through PIL image by image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.data.normalise import Normaliser
from bench.data.resident import ResidentTrain
from bench.spec import DataSpec
from bench.stats import median
from tools.benchmark_pil import (
    MEAN,
    PADDING,
    STD,
    cropped_and_flipped,
    normalised,
    one_thread,
    photographs,
    timed,
    to_pil,
)
from tools.interleaved import Row, ratio_row, seconds_in_turns

ROUNDS = 9
SIZE = 32
IMAGES = 1024
RESIDENT_IMAGES = 16384
BATCHES = (128, 512)
WORKERS = 2
CPU = torch.device("cpu")


def rows(device: str) -> list[Row]:
    """Ratios of a loader's time an image to that of the resident feed: how many times faster the feed is.

    Seconds are those of the feed, an image, its draws included. Loaders end with normalised batches on the CPU. The
    main process has one thread; the row with worker processes is by the clock, so they may use more cores than the
    feed and other processes on the machine disturb it.
    """
    place = torch.device(device)
    with one_thread():
        return [row for batch in BATCHES for row in _case(batch, place)]


def _case(batch: int, device: torch.device) -> list[Row]:
    feed = _resident(photographs(IMAGES, SIZE).repeat(RESIDENT_IMAGES // IMAGES, 1, 1, 1).to(device), batch)
    images = to_pil(photographs(IMAGES, SIZE))
    own = {
        "feed": timed(feed, device, RESIDENT_IMAGES),
        "feed by the clock": timed(feed, device, RESIDENT_IMAGES, workers=True),
    }
    loaders = {
        "DataLoader, torchvision on PIL": timed(_loader(images, batch, 0), CPU, IMAGES),
        f"the same with {WORKERS} workers": timed(_loader(images, batch, WORKERS), CPU, IMAGES, workers=True),
        "PIL and NumPy in a plain loop": timed(_loop(images, batch), CPU, IMAGES),
    }
    candidates = {**own, **loaders}
    seconds_in_turns(candidates, 1)
    found = seconds_in_turns(candidates, ROUNDS)
    made: list[Row] = []
    for number, name in enumerate(loaders):
        feeds = found["feed by the clock" if "workers" in name else "feed"]
        target = ">= 25" if number == 0 and device.type == "cpu" else ""
        row = ratio_row(
            "crop + flip + normalise", f"{SIZE} px, B {batch}, {device.type}", name, found[name], feeds, target
        )
        made.append(row | {"seconds": median(feeds)})
    return made


def _resident(images: Tensor, batch: int) -> Callable[[], None]:
    data = DataSpec(source="cifar10", resolution=SIZE, mean=MEAN, std=STD, crop="pad", crop_padding=PADDING, flip=True)
    feed = ResidentTrain(images, torch.zeros(len(images), dtype=torch.long, device=images.device), data)
    normalise = Normaliser(MEAN, STD).to(images.device)
    epochs = count()

    def epoch() -> None:
        for batch_images, _ in feed.epoch(0, next(epochs), batch):
            normalise(batch_images)

    return epoch


class _Pictures(Dataset[tuple[Any, int]]):
    """PIL images with torchvision's transforms, as most training scripts have them."""

    def __init__(self, images: list[Image.Image]) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE, PADDING, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), 0

    def __len__(self) -> int:
        return len(self.images)


def _loader(images: list[Image.Image], batch: int, workers: int) -> Callable[[], None]:
    loader = DataLoader(
        _Pictures(images), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def _loop(images: list[Image.Image], batch: int) -> Callable[[], None]:
    random = np.random.default_rng(0)

    def epoch() -> None:
        order = random.permutation(len(images)).tolist()
        for start in range(0, len(order), batch):
            chosen = [images[position] for position in order[start : start + batch]]
            torch.stack([normalised(cropped_and_flipped(image, random)) for image in chosen])

    return epoch
