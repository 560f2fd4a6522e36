"""Small image folders and specs for the tests of bench.data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.spec import DataSpec


def random_pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_image(path: Path, seed: int, width: int = 8, height: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random_pixels(seed, height, width, 3)).save(path)
    return path


def write_folder(
    root: Path, train: int = 4, test: int = 2, classes: tuple[str, ...] = ("ant", "bee"), test_name: str = "test",
    width: int = 8, height: int = 8,
) -> Path:  # fmt: skip
    """PNG images of random pixels, each another; `train` and `test` images a class."""
    for part, count in (("train", train), (test_name, test)):
        for label, name in enumerate(classes):
            for number in range(count):
                seed = 1000 * label + number + (500 if part != "train" else 0)
                write_image(root / part / name / f"{number}.png", seed, width, height)
    return root


def spec_of(source: str = "folder", **changes: Any) -> DataSpec:
    channels = changes.get("channels", 3)
    plain = {"source": source, "resolution": 8, "mean": (0.5,) * channels, "std": (0.25,) * channels}
    if "root" in changes:
        changes["root"] = str(changes["root"])
    return DataSpec.model_validate({**plain, **changes})
