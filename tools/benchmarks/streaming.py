"""Training images read from JPEG files in every epoch: feeds for large data sets against torchvision's DataLoader."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from bench.data.arrival import arrival
from bench.data.draws import epoch_order
from bench.data.streamed_folder import FileReader
from bench.data.streaming import BatchLoader, StreamingTrain
from bench.data.streaming_worker import ImageBatches, Request
from bench.spec import DataSpec
from bench.stats import median
from tools.benchmark_pil import one_thread, timed
from tools.interleaved import Row, ratio_row, seconds_in_turns

ROUNDS = 7
SIZE, BATCH = 224, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")
FILES = {"500 x 375": (500, 375, 64), "1600 x 1200": (1600, 1200, 16)}
"""Width and height of the files, and how many. The sample photographs have 640 x 427: the large files are enlarged."""
FEEDS: dict[str, dict[str, Any]] = {
    "workers decode and augment": {},
    "the same, decoder torchvision": {"decoder": "torchvision"},
    "the same, jpeg_side 320": {"jpeg_side": 320},
    "workers decode, device augments": {"augment_on": "device"},
    "the same with jpeg_side 320": {"augment_on": "device", "jpeg_side": 320},
}
ENCODED: dict[str, Any] = {"augment_on": "device", "decoder": "nvjpeg"}


def rows(device: str) -> list[Row]:
    """How many times faster a feed is than a torchvision DataLoader, and a worker's part than that of the plain feed.

    Everything runs in this process with one thread, so that on a CPU the time is the thread's processor time, which
    other processes do not change. "A worker's part" is what a worker process would do: an accelerator does the rest.
    Seconds are those of what the row names, an image.
    """
    place = torch.device(device)
    made: list[Row] = []
    with one_thread():
        for name, (width, height, images) in FILES.items():
            with tempfile.TemporaryDirectory() as folder:
                _write(Path(folder), width, height, images)
                made += _against_loader(Path(folder), name, images, place)
                made += _worker_parts(Path(folder), name, images)
                if place.type == "cuda":
                    made += _arrivals(Path(folder), name, images, place)
    return made


def _against_loader(folder: Path, name: str, images: int, device: torch.device) -> list[Row]:
    loader = {"torchvision DataLoader": timed(_loader(folder), CPU, images)}
    feeds = {feed: timed(_epochs(folder, _spec(**changes), device), device, images) for feed, changes in FEEDS.items()}
    case = f"{name} to {SIZE} px, B {BATCH}, {device.type}, no workers"
    return _ratios({**loader, **feeds}, case)


def _worker_parts(folder: Path, name: str, images: int) -> list[Row]:
    parts = {feed: timed(_requests(folder, _spec(**changes)), CPU, images) for feed, changes in FEEDS.items()}
    parts["workers read, nvJPEG decodes, device augments"] = timed(_requests(folder, _spec(**ENCODED)), CPU, images)
    return _ratios(parts, f"{name}, a worker's part")


def _arrivals(folder: Path, name: str, images: int, device: torch.device) -> list[Row]:
    """The device's part, its batches ready on the CPU."""
    parts: dict[str, Callable[[], float]] = {}
    for part, changes in {"copies": {}, "device augments": FEEDS["workers decode, device augments"],
                          "nvJPEG decodes, device augments": ENCODED}.items():  # fmt: skip
        data = _spec(**changes)
        arrive, batches = arrival(data, device), _batches(folder, data)
        parts[part] = timed(lambda arrive=arrive, batches=batches: [arrive(batch) for batch in batches], device, images)
    return _ratios(parts, f"{name} to {SIZE} px, B {BATCH}, the device's part")


def _ratios(candidates: dict[str, Callable[[], float]], case: str) -> list[Row]:
    """Rows of all but the first, which they are relative to."""
    seconds_in_turns(candidates, 1)
    found = seconds_in_turns(candidates, ROUNDS)
    baseline, *others = found
    return [
        ratio_row(name, case, f"times faster than: {baseline}", found[baseline], found[name])
        | {"seconds": median(found[name])}
        for name in others
    ]


def _spec(**changes: Any) -> DataSpec:
    plain = {"source": "streaming", "resolution": SIZE, "mean": MEAN, "std": STD, "workers": 0}
    return DataSpec.model_validate({**plain, "crop": "random_resized", "flip": True, **changes})


def _worker(folder: Path, data: DataSpec) -> ImageBatches:
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg"))
    reader = FileReader(folder, np.array([os.fsencode(path) for path in paths]))
    return ImageBatches(reader, np.arange(len(paths)), data)


def _epochs(folder: Path, data: DataSpec, device: torch.device) -> Callable[[], None]:
    worker = _worker(folder, data)
    loader = BatchLoader(worker, device, persistent=True, arrive=arrival(data, device))
    feed = StreamingTrain(loader, torch.zeros(len(worker.selection), dtype=torch.long))
    epochs = count()

    def epoch() -> None:
        for _ in feed.epoch(0, next(epochs), BATCH):
            pass

    return epoch


def _requests(folder: Path, data: DataSpec) -> Callable[[], None]:
    worker = _worker(folder, data)
    epochs = count()

    def epoch() -> None:
        for request in _cut(len(worker.selection), next(epochs)):
            worker[request]

    return epoch


def _batches(folder: Path, data: DataSpec) -> list[Any]:
    worker = _worker(folder, data)
    return [worker[request].pin_memory() for request in _cut(len(worker.selection), 0)]  # pyright: ignore[reportAttributeAccessIssue]


def _cut(images: int, epoch: int) -> list[Request]:
    order = epoch_order(0, epoch, images)
    return [Request(order[start : start + BATCH], 0, epoch) for start in range(0, images, BATCH)]


def _loader(folder: Path) -> Callable[[], None]:
    """What most training scripts have, without the normalisation, which the feeds leave to the device too."""
    steps = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    loader = DataLoader(ImageFolder(str(folder), transforms.Compose(steps)), BATCH, shuffle=True, drop_last=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def _write(folder: Path, width: int, height: int, images: int) -> None:
    """JPEG files of the usual quality: parts of scikit-learn's two sample photographs, each another one."""
    random = np.random.default_rng(0)
    originals = [Image.fromarray(picture) for picture in load_sample_images().images]
    for number in range(images):
        whole = originals[number % len(originals)]
        left, top = int(random.integers(whole.width - 500)), int(random.integers(whole.height - 375))
        picture = whole.crop((left, top, left + 500, top + 375)).resize((width, height), Image.Resampling.BICUBIC)
        place = folder / f"class{number % 2}" / f"{number:03d}.jpg"
        place.parent.mkdir(exist_ok=True)
        picture.save(place, quality=90)
