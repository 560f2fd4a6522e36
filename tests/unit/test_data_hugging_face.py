"""Hugging Face data sets through timm's reader; the package `datasets` is replaced by the few calls that timm makes."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import hugging_face
from bench.data.facts import describe
from bench.data.open import open_data
from bench.errors import BadInput
from tests.unit.data_folders import random_pixels, spec_of, write_image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(random_pixels(seed, 8, 8, 3)).save(file, "png")
    return file.getvalue()


class Column(list[Any]):
    """Stands for an Arrow array."""

    def to_pylist(self) -> list[Any]:
        return list(self)


class Table:
    """Stands for datasets.Dataset: rows of image and label, names of the classes."""

    def __init__(self, labels: list[int], seed: int, names: list[str] | None = None, path: Path | None = None) -> None:
        stored = [{"bytes": png(seed + row), "path": f"{row}.png"} for row in range(len(labels))]
        if path is not None:
            stored[0] = {"bytes": None, "path": str(path)}
        self.rows = [{"image": image, "label": label} for image, label in zip(stored, labels, strict=True)]
        label_type = types.SimpleNamespace(names=names)
        self.info = types.SimpleNamespace(features={"label": label_type}, splits=None)
        self.data = types.SimpleNamespace(column=lambda name: types.SimpleNamespace(chunks=[Column(stored)]))

    def cast_column(self, name: str, kind: object) -> Table:
        return self

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | str) -> Any:
        return [row[key] for row in self.rows] if isinstance(key, str) else self.rows[key]


def install(monkeypatch: pytest.MonkeyPatch, splits: dict[str, Table]) -> None:
    def load_dataset(name: str, split: str, cache_dir: str | None, **_: object) -> Table:
        if split not in splits:
            raise ValueError(f'Unknown split "{split}".\nShould be one of {list(splits)}.')
        return splits[split]

    fake: Any = types.ModuleType("datasets")
    fake.load_dataset, fake.Image, fake.ClassLabel = load_dataset, lambda decode: None, type("ClassLabel", (), {})
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    arrow: Any = types.ModuleType("pyarrow.compute")
    arrow.struct_field = lambda chunk, name: Column(row[name] for row in chunk)
    arrow.binary_length = lambda values: Column(None if value is None else len(value) for value in values)
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.compute", arrow)


SPEC = spec_of("streaming", dataset="hfds/someone/pets", workers=0)


def test_images_labels_and_names_come_from_timms_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_image(tmp_path / "on disk.png", 99)
    splits = {"train": Table([0, 1, 1], 0, ["cat", "dog"]), "validation": Table([1, 0], 50, ["cat", "dog"], path)}
    install(monkeypatch, splits)
    opened = open_data(SPEC)
    assert opened.facts.class_names == ("cat", "dog")
    assert opened.facts.sizes == {"train": 3, "test": 2}
    _, labels = next(opened.evaluation["test"].batches(2))
    assert labels.tolist() == [1, 0]
    reader = hugging_face.HuggingFaceSource(SPEC).reader("test")
    assert np.array_equal(np.asarray(reader.image(0)), random_pixels(99, 8, 8, 3))
    assert np.array_equal(np.asarray(reader.image(1)), random_pixels(51, 8, 8, 3))
    assert reader.name(1) == "hfds/someone/pets test image 1"
    identities = hugging_face.HuggingFaceSource(SPEC).listing().test
    assert identities is not None
    assert list(identities.identities) == [f"0\ton disk.png\t{path.stat().st_size}", f"1\t1.png\t{len(png(51))}"]


def test_a_test_split_without_labels_gives_way_to_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Table([0, 1], 0)
    install(monkeypatch, {"train": train, "test": Table([-1, -1], 9), "validation": Table([0, 1, 1], 20)})
    facts = describe(SPEC)
    assert facts.sizes == {"train": 2, "test": 3}
    assert facts.class_names == ("0", "1")


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"train": Table([0, 1], 0)})
    with pytest.raises(BadInput, match="no labelled split called test or validation or val"):
        describe(SPEC)
    install(monkeypatch, {})
    with pytest.raises(BadInput, match=r'split train cannot be loaded \(Unknown split "train".\)$'):
        describe(SPEC)
    install(monkeypatch, {"train": Table([0, 0], 0, ["cat", "dog"]), "test": Table([0], 9)})
    with pytest.raises(BadInput, match="no training image of class 'dog'"):
        describe(SPEC)
    install(monkeypatch, {"train": Table([0, 1, 2], 0, ["cat", "dog"]), "test": Table([0], 9)})
    with pytest.raises(BadInput, match="3 classes, 2 named"):
        describe(SPEC)


def test_the_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    with pytest.raises(BadInput, match=r"needs the package datasets; install mixbench\[huggingface\]"):
        describe(SPEC)
