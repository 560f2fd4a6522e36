"""scikit-learn's digits and torchvision's CIFAR as sources."""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from bench.data.cifar import FILES
from bench.data.facts import describe
from bench.data.open import open_data
from bench.errors import BadInput
from tests.unit.data_folders import random_pixels, spec_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def labelled(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[bytes, int]:
    """Label of each image, by the image's bytes."""
    pairs = [pair for images, labels in batches for pair in zip(images, labels.tolist(), strict=True)]
    return {image.numpy().tobytes(): label for image, label in pairs}


def test_digits_are_scikit_learns() -> None:
    bunch = load_digits()
    levels = np.array([round(level * 255 / 16) for level in range(17)], dtype=np.uint8)
    pairs = zip(bunch.images, bunch.target, strict=True)
    known = {levels[image.astype(int)].tobytes(): label for image, label in pairs}
    splits = open_data(spec_of("digits", channels=1, train_per_class=5))
    train = labelled(list(splits.train.epoch(0, 0, 50)))
    test = labelled(list(splits.evaluation["test"].batches(500)))
    assert train | test == known
    assert (len(train), len(test), len(known)) == (50, 1747, 1797)
    assert np.bincount(list(train.values())).tolist() == [5] * 10


def test_digits_are_enlarged_after_a_transform_and_repeated_for_three_channels() -> None:
    feed = open_data(spec_of("digits", resolution=32, train_per_class=5)).evaluation["test"]
    assert feed.native == (3, 8, 8)
    images, _ = next(feed.batches(4, lambda native, index: native))
    assert images.shape == (4, 3, 32, 32)
    assert (images[:, 0] == images[:, 2]).all()


def test_the_digits_of_the_quick_start_are_pinned() -> None:
    facts = describe(spec_of("digits", channels=1, resolution=32, train_per_class=5))
    assert facts.digest == "03a3fc5c9def5dd34c8bc3dd72405d7f"
    assert facts.class_names == tuple("0123456789")
    assert facts.sizes == {"train": 50, "test": 1747}


def write_cifar(root: Path, name: str) -> dict[str, tuple[np.ndarray, list[int]]]:
    """The files that torchvision unpacks, with 30 training and 20 test images."""
    folder, files = FILES[name]
    (root / folder).mkdir(parents=True)
    classes = 10 if name == "cifar10" else 100
    label_key = "labels" if name == "cifar10" else "fine_labels"
    batches = [file for file in files if "meta" not in file]
    parts: dict[str, list[tuple[np.ndarray, list[int]]]] = {"train": [], "test": []}
    for number, file in enumerate(batches):
        part = "test" if file.startswith("test") else "train"
        pixels = random_pixels(number, 100 if name == "cifar100" else 10, 3072)
        labels = [(position + number) % classes for position in range(len(pixels))]
        (root / folder / file).write_bytes(pickle.dumps({"data": pixels, label_key: labels}))
        parts[part].append((pixels.reshape(-1, 3, 32, 32), labels))
    names = {"label_names" if name == "cifar10" else "fine_label_names": [f"class {label}" for label in range(classes)]}
    (root / folder / files[-1]).write_bytes(pickle.dumps(names))
    return {
        part: (np.concatenate([pixels for pixels, _ in found]), [label for _, labels in found for label in labels])
        for part, found in parts.items()
    }


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_as_torchvision_unpacks_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    written = write_cifar(tmp_path, name)
    spec = spec_of(name, root=tmp_path, resolution=32)
    splits = open_data(spec)
    images, labels = next(splits.evaluation["test"].batches(200))
    assert np.array_equal(images.numpy(), written["test"][0])
    assert labels.tolist() == written["test"][1]
    pixels, targets = written["train"]
    assert labelled(list(splits.train.epoch(0, 0, len(pixels)))) == {
        image.tobytes(): label for image, label in zip(pixels, targets, strict=True)
    }
    assert splits.facts.num_classes == len(splits.facts.class_names) == (10 if name == "cifar10" else 100)
    with monkeypatch.context() as patch:
        patch.setattr("bench.data.cifar.CifarSource._load", lambda *_: pytest.fail("looked at again"))
        assert describe(spec) == splits.facts
    changed = tmp_path / FILES[name][0] / FILES[name][1][0]
    batch = pickle.loads(changed.read_bytes())
    batch["data"] = batch["data"][::-1].copy()
    changed.write_bytes(pickle.dumps(batch))
    assert describe(spec).digest != splits.facts.digest


@pytest.mark.parametrize(
    "failure", [URLError("no network"), RuntimeError("File not found or corrupted."), PermissionError(13, "denied")]
)
def test_a_failed_download_says_what_to_do(failure: Exception, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torchvision.datasets.CIFAR100, "download", fail)
    with pytest.raises(BadInput, match=r"cifar-100-python\.tar\.gz") as caught:
        describe(spec_of("cifar100", resolution=32))
    assert str(cache / "datasets") in str(caught.value)
    assert str(failure) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cifar_has_three_channels() -> None:
    with pytest.raises(BadInput, match=r"data.channels 1: cifar10 has 3 channels"):
        describe(spec_of("cifar10", channels=1))
