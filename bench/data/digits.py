"""scikit-learn's digits: 1,797 real 8x8 images of handwritten digits that ship inside the package."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.data.array_cache import cached_array
from bench.data.listing import Listing, cached_listing, numbered
from bench.spec import DataSpec

CLASS_NAMES = tuple(str(digit) for digit in range(10))


class DigitsSource:
    """A pool without a split of its own: `train_per_class` images of each digit train, the rest test."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def listing(self) -> Listing:
        """All digits by their position in scikit-learn's order; kept in the cache for a scikit-learn version."""
        return cached_listing("digits", _version(), _listing)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """uint8 (1797, C, 8, 8); with 3 channels the grey values are repeated."""
        pixels = cached_array(f"digits-{_version()}", lambda: load_digits_uint8()[0])
        return {"train": np.repeat(pixels[:, None], self.spec.channels, axis=1)}


def load_digits_uint8() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (1797, 8, 8) and labels int64 (1797,).

    scikit-learn's values 0..16 become round(value * 255 / 16), halves to even: 0 stays 0 and 16 becomes 255.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return np.rint(bunch.images * 255 / 16).astype(np.uint8), bunch.target.astype(np.int64)


def _version() -> str:
    return importlib.metadata.version("scikit-learn")


def _listing() -> Listing:
    pixels, labels = load_digits_uint8()
    content = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    return Listing(CLASS_NAMES, numbered(labels), None, content)
