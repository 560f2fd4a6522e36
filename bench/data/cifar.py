"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) through torchvision's downloader."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.cache import cache_folder, lock
from bench.data.listing import Listing, cached_listing, numbered, stamp_of_files
from bench.errors import BadInput
from bench.spec import DataSpec

FILES = {
    "cifar10": ("cifar-10-batches-py", (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta")),
    "cifar100": ("cifar-100-python", ("train", "test", "meta")),
}
ARCHIVES = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}


class CifarSource:
    """50,000 training and 10,000 test images of 32x32, three channels. Downloaded to `root` when missing.

    root is by default `datasets` in the cache folder.
    """

    def __init__(self, spec: DataSpec) -> None:
        if spec.channels != 3:
            raise BadInput(f"data.channels {spec.channels}: {spec.source} has 3 channels")
        self.name = spec.source
        self.root = Path(spec.root).expanduser().absolute() if spec.root else cache_folder() / "datasets"

    def listing(self) -> Listing:
        """All images by their position; kept in the cache while torchvision's files stay as they are."""
        folder, names = FILES[self.name]
        files = [self.root / folder / name for name in names]
        if not all(file.is_file() for file in files):
            self._load("train")
        return cached_listing(f"{self.name} {self.root}", stamp_of_files(files), self._listing)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """uint8 (N, 3, 32, 32)."""
        return {part: np.ascontiguousarray(self._load(part).data.transpose(0, 3, 1, 2)) for part in ("train", "test")}

    def _listing(self) -> Listing:
        train, test = self._load("train"), self._load("test")
        content = hashlib.blake2b(digest_size=16)
        content.update(np.ascontiguousarray(train.data).tobytes())
        content.update(np.ascontiguousarray(test.data).tobytes())
        labels = [numbered(np.array(part.targets, dtype=np.int64)) for part in (train, test)]
        return Listing(tuple(train.classes), labels[0], labels[1], content.hexdigest())

    def _load(self, part: str) -> Any:
        import torchvision.datasets

        kind = torchvision.datasets.CIFAR10 if self.name == "cifar10" else torchvision.datasets.CIFAR100
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with lock(self.root / f".{self.name}.lock"):
                return kind(str(self.root), train=part == "train", download=True)
        except (OSError, RuntimeError, EOFError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(
                f"{self.name} is not in {self.root} and could not be downloaded ({reason}); put {ARCHIVES[self.name]} "
                "there, or set data.root to where it is, or use data=folder32 with images of your own"
            ) from None
