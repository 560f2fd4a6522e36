"""What a data set holds: names, labels and classes of all its images, before anything is selected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.data.cache import cache_folder, read_json, short_hash, write_json

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Samples:
    """The images of one part of a data set in their fixed order.

    identities: what tells an image from all others wherever the data lie, such as "cat/1.jpg", its size and its
    content's hash. labels: (N,) int64, positions in the class names.
    """

    identities: Sequence[str]
    labels: np.ndarray


@dataclass(frozen=True)
class Listing:
    """class_names in label order. test is None for a pool without a split of its own (digits).

    content: a digest of the pixels where they are not part of the identities, else "".
    """

    class_names: tuple[str, ...]
    train: Samples
    test: Samples | None
    content: str = ""


class ResidentSource(Protocol):
    """A data set that fits in memory."""

    def listing(self) -> Listing:
        """What it holds."""
        ...

    def arrays(self) -> Mapping[str, np.ndarray]:
        """ "train" and, where the listing has a test part, "test": uint8 (N, C, H, W) in the listing's order."""
        ...


class Reader(Protocol):
    """Random access to the images of one part of a streaming data set; can be sent to worker processes."""

    def image(self, index: int) -> Image.Image:
        """The image at a position of the listing, opened and maybe not decoded yet."""
        ...

    def encoded(self, index: int) -> bytes:
        """The same image's file, whole."""
        ...

    def name(self, index: int) -> str:
        """What to call it in an error."""
        ...


class StreamingSource(Protocol):
    """A data set that is read anew in every epoch."""

    def listing(self) -> Listing:
        """What it holds."""
        ...

    def reader(self, part: str) -> Reader:
        """Access to the images of "train" or "test"."""
        ...


def cached_listing(name: str, stamp: str, build: Callable[[], Listing]) -> Listing:
    """The listing of a data set whose images are known by position, kept in the cache while `stamp` is the same."""
    path = cache_folder() / "listings" / f"{short_hash(name)}.json"
    kept = read_json(path)
    if kept.get("stamp") == stamp and kept.get("name") == name:
        return _from_plain(kept)
    listing = build()
    write_json(path, {"name": name, "stamp": stamp, **_to_plain(listing)})
    return listing


def numbered(labels: np.ndarray) -> Samples:
    """Samples that are known by their position."""
    return Samples([str(position) for position in range(len(labels))], labels.astype(np.int64))


def stamp_of_files(paths: Sequence[Path]) -> str:
    """Names, sizes and times of change of some files; missing ones are said to be missing."""
    parts = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            parts.append(f"{path.name} missing")
        else:
            parts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(parts)


def _to_plain(listing: Listing) -> dict[str, Any]:
    return {
        "class_names": list(listing.class_names),
        "content": listing.content,
        "train": listing.train.labels.tolist(),
        "test": None if listing.test is None else listing.test.labels.tolist(),
    }


def _from_plain(kept: dict[str, Any]) -> Listing:
    train = numbered(np.array(kept["train"], dtype=np.int64))
    test = None if kept["test"] is None else numbered(np.array(kept["test"], dtype=np.int64))
    return Listing(tuple(kept["class_names"]), train, test, kept["content"])
