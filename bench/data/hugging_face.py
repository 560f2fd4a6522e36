"""Hugging Face data sets (`hfds/NAME`) through timm's create_dataset."""

from __future__ import annotations

import functools
import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.listing import Listing, Samples
from bench.errors import BadInput
from bench.spec import DataSpec

TEST_NAMES = ("test", "validation", "val")


class HuggingFaceSource:
    """`data.dataset: hfds/NAME` with columns "image" and "label", as timm's reader expects; root is the cache for it.

    The test split is the first of test, validation, val that exists and has labels. Images are known by position, file
    name and size.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @functools.cached_property
    def parts(self) -> dict[str, Any]:
        """timm's readers of "train" and "test"."""
        train = self._load("train")
        for name in TEST_NAMES:
            try:
                test = self._load(name)
            except BadInput:
                continue
            if (_labels(test) >= 0).all():
                return {"train": train, "test": test}
        raise BadInput(f"data.dataset {self.spec.dataset}: has no labelled split called {' or '.join(TEST_NAMES)}")

    def listing(self) -> Listing:
        """All images by position."""
        names = sorted(self.parts["train"].class_to_idx, key=self.parts["train"].class_to_idx.get)
        train, test = _samples(self.parts["train"]), _samples(self.parts["test"])
        count = max(int(train.labels.max()), int(test.labels.max())) + 1
        names = names or [str(label) for label in range(count)]
        missing = sorted(set(range(len(names))) - set(train.labels.tolist()))
        if missing or len(names) < count:
            empty = f"no training image of class '{names[missing[0]]}'" if missing else ""
            raise BadInput(f"data.dataset {self.spec.dataset}: {empty or f'{count} classes, {len(names)} named'}")
        return Listing(tuple(names), train, test)

    def reader(self, part: str) -> TimmReader:
        """Access to the images of "train" or "test"."""
        return TimmReader(self.parts[part], f"{self.spec.dataset} {part}")

    def _load(self, split: str) -> Any:
        try:
            timm_data: Any = importlib.import_module("timm.data")
            return timm_data.create_dataset(self.spec.dataset, root=self.spec.root, split=split).reader
        except ImportError:
            what = "needs the package datasets; install mixbench[huggingface]"
            raise BadInput(f"data.dataset {self.spec.dataset}: {what}") from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(f"data.dataset {self.spec.dataset}: split {split} cannot be loaded ({reason})") from None


def _labels(reader: Any) -> np.ndarray:
    return np.array(list(reader.dataset[reader.label_key]), dtype=np.int64)


def _samples(reader: Any) -> Samples:
    """Identities without reading pixels: the column's offsets tell the sizes of images stored inside."""
    arrow: Any = importlib.import_module("pyarrow.compute")  # comes with the package datasets
    identities: list[str] = []
    for chunk in reader.dataset.data.column(reader.image_key).chunks:
        sizes = arrow.binary_length(arrow.struct_field(chunk, "bytes")).to_pylist()
        paths = arrow.struct_field(chunk, "path").to_pylist()
        for size, path in zip(sizes, paths, strict=True):
            stored = Path(path).stat().st_size if size is None else size
            identities.append(f"{len(identities)}\t{Path(path or '').name}\t{stored}")
    return Samples(identities, _labels(reader))


@dataclass(frozen=True)
class TimmReader:
    """A Reader over timm's reader."""

    timm_reader: Any
    title: str

    def image(self, index: int) -> Image.Image:
        """The image at a position, not decoded yet."""
        return Image.open(io.BytesIO(self.encoded(index)))

    def encoded(self, index: int) -> bytes:
        """The image's file, whole."""
        with self.timm_reader[index][0] as file:
            return file.read()

    def name(self, index: int) -> str:
        """The data set's name and the position."""
        return f"{self.title} image {index}"
