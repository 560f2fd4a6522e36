"""A folder of images that does not fit in memory, such as ImageNet."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.folder_layout import FolderLayout, FolderPart, read_layout
from bench.data.listing import Listing, Samples
from bench.spec import DataSpec


class StreamedFolder:
    """Images in train/<class>/ and test/<class>/ or val/<class>/, read anew in every epoch.

    Classes sort by code point and images may lie at any depth below their class, which for ImageNet is the order of
    timm's and torchvision's ImageFolder. Images are known by path and size, not by content; their list is kept in the
    cache while no folder changes, so that a second look at a million files takes a moment.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @functools.cached_property
    def layout(self) -> FolderLayout:
        """The files and their labels, looked at once for this object."""
        return read_layout(self.spec.root, trust_folders=True)

    def listing(self) -> Listing:
        """All images, by class and then by path."""
        return Listing(self.layout.class_names, _samples(self.layout.train), _samples(self.layout.test))

    def reader(self, part: str) -> FileReader:
        """Access to the images of "train" or "test"."""
        chosen = self.layout.train if part == "train" else self.layout.test
        return FileReader(chosen.folder, np.array([os.fsencode(file.path) for file in chosen.files]))


def _samples(part: FolderPart) -> Samples:
    return Samples([f"{file.identity}\t{file.size}" for file in part.files], part.labels)


@dataclass(frozen=True)
class FileReader:
    """A Reader of files. paths: one array of bytes, so that forked workers share it instead of copying it."""

    folder: Path
    paths: np.ndarray

    def image(self, index: int) -> Image.Image:
        """The image at a position, not decoded yet."""
        return Image.open(self.name(index))

    def encoded(self, index: int) -> bytes:
        """The file, whole."""
        return Path(self.name(index)).read_bytes()

    def name(self, index: int) -> str:
        """The file's path."""
        return str(self.folder / os.fsdecode(self.paths[index]))
