"""A folder of images that fits in memory: decoded once, kept in the cache as uint8."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from bench.data.array_cache import cached_array
from bench.data.cache import short_hash
from bench.data.content_hash import content_hashes
from bench.data.decode import UnreadableImage, fit, open_image, to_array
from bench.data.folder_layout import FolderLayout, FolderPart, read_layout
from bench.data.listing import Listing, Samples
from bench.data.threads import in_threads
from bench.errors import BadInput
from bench.spec import DataSpec

DECODING = "1"
"""Raised whenever the same files would decode to other pixels, so that nothing old is taken from the cache."""
SHOWN = 3
"""Unreadable files named in an error."""


class FolderSource:
    """Images in train/<class>/ and test/<class>/ or val/<class>/, of any size and of Pillow's formats.

    Every image is resized with its shorter side to `resolution` and cut to its centre (bench.data.decode.fit);
    training crops act on the result. All images are decoded, whatever train_per_class keeps, so that every choice
    shares one file in the cache. Images are known by path, size and content, so a copy elsewhere is the same data.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @functools.cached_property
    def layout(self) -> FolderLayout:
        """The files and their labels, looked at once for this object."""
        return read_layout(self.spec.root, trust_folders=False)

    @functools.cached_property
    def parts(self) -> dict[str, Samples]:
        """Identities and labels of "train" and "test"."""
        return {"train": _samples(self.layout.train), "test": _samples(self.layout.test)}

    def listing(self) -> Listing:
        """All images, by class and then by path."""
        return Listing(self.layout.class_names, self.parts["train"], self.parts["test"])

    def arrays(self) -> Mapping[str, np.ndarray]:
        """uint8 (N, C, resolution, resolution), memory-mapped from the cache. BadInput names unreadable files."""
        return {"train": self._decoded(self.layout.train, "train"), "test": self._decoded(self.layout.test, "test")}

    def _decoded(self, part: FolderPart, name: str) -> np.ndarray:
        size, channels = self.spec.resolution, self.spec.channels
        files = short_hash(*self.parts[name].identities)
        return cached_array(f"{files}-{size}-{channels}-{DECODING}", lambda: _decode_all(part, size, channels))


def _samples(part: FolderPart) -> Samples:
    hashes = content_hashes(part.folder, part.files)
    identities = [f"{file.identity}\t{file.size}\t{digest}" for file, digest in zip(part.files, hashes, strict=True)]
    return Samples(identities, part.labels)


def _decode_all(part: FolderPart, size: int, channels: int) -> np.ndarray:
    images = np.empty((len(part.files), channels, size, size), dtype=np.uint8)

    def decode(position: int) -> str | None:
        path = part.folder / part.files[position].path
        try:
            images[position] = to_array(fit(open_image(path, channels), size, size))
        except UnreadableImage as reason:
            return f"{path} ({reason})"
        return None

    outcomes = in_threads(f"decoding {part.folder}", "images", range(len(part.files)), decode)
    bad = [outcome for outcome in outcomes if outcome is not None]
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise BadInput(f"unreadable images: {', '.join(bad[:SHOWN])}{more}; repair or remove them")
    return images
