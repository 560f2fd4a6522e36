"""Streaming through worker processes: the same images whatever the number of workers."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.data.facts import describe
from bench.data.feeds import TrainFeed
from bench.data.open import open_data
from bench.data.streaming_worker import rand_augment, training_crop
from bench.errors import BadInput
from bench.rng import AUGMENT, stream
from methods.ops.keys import Key
from tests.unit.data_folders import random_pixels, spec_of, write_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

FULL = {"crop": "random_resized", "flip": True, "rand_augment": "rand-m9-mstd0.5-inc1"}
"""Every kind of random number at once."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data", train=5, test=3, width=20, height=14)


def collected(feed: TrainFeed, batch_size: int, epoch: int = 0, start_step: int = 0) -> list[tuple[Tensor, Tensor]]:
    return list(feed.epoch(0, epoch, batch_size, start_step))


def same(first: list[tuple[Tensor, Tensor]], second: list[tuple[Tensor, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(images, other_images) and torch.equal(labels, other_labels)
        for (images, labels), (other_images, other_labels) in zip(first, second, strict=True)
    )


def test_workers_epochs_and_resume(root: Path) -> None:
    alone = open_data(spec_of("streaming", root=root, workers=0, **FULL))
    helped = open_data(spec_of("streaming", root=root, workers=2, **FULL))
    first = collected(alone.train, 3)
    assert [images.shape for images, _ in first] == [(3, 3, 8, 8)] * 3
    assert first[0][0].dtype == torch.uint8
    assert same(first, collected(helped.train, 3))
    assert same(first[1:], collected(helped.train, 3, start_step=1))
    assert not same(first, collected(helped.train, 3, epoch=1))
    abandoned = helped.train.epoch(0, 0, 1)
    next(abandoned)
    assert same(first, collected(helped.train, 3))
    whole = torch.cat([images for images, _ in first])
    assert torch.equal(torch.cat([images for images, _ in collected(alone.train, 1)])[:9], whole)
    (everything,) = collected(alone.train, 11)
    assert len(everything[0]) == 10
    evaluation = [list(splits.evaluation["test"].batches(4)) for splits in (alone, helped)]
    assert same(*evaluation)
    assert same(list(alone.evaluation["test"].batches(4, None, (1, 2))), evaluation[0][1:])
    rows = np.array([2, 0])
    assert same(list(alone.train.epoch(0, 0, 3, 1, rows)), [(x[rows], y[rows]) for x, y in first[1:]])
    assert [len(images) for images, _ in evaluation[0]] == [4, 2]


def test_labels_belong_to_their_images(root: Path) -> None:
    spec = spec_of("streaming", root=root, resolution=14, workers=0, validation=0.2)
    splits = open_data(spec)
    known = {}
    for path in root.rglob("*.png"):
        known[np.asarray(Image.open(path))[:, 3:17].tobytes()] = (path.parts[-3], path.parts[-2])
    seen = set()
    for images, labels in splits.train.epoch(0, 0, 1):
        pixels = images[0].permute(1, 2, 0).numpy().tobytes()
        assert known[pixels] == ("train", splits.facts.class_names[int(labels)])
        seen.add(pixels)
    assert len(seen) == 8
    assert splits.facts == describe(spec)
    assert splits.facts.sizes == {"train": 8, "validation": 2, "test": 6}
    assert splits.evaluation["validation"].labels.tolist() == [0, 1]
    assert splits.evaluation["test"].labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_transform_meets_images_at_the_resolution(root: Path) -> None:
    feed = open_data(spec_of("streaming", root=root, workers=0)).evaluation["test"]
    assert feed.native == (3, 8, 8)
    seen: list[int] = []

    def invert(images: Tensor, index: Tensor) -> Tensor:
        seen.extend(index.tolist())
        return 255 - images

    plain, inverted = list(feed.batches(4)), list(feed.batches(4, invert))
    assert seen == list(range(6))
    assert all(torch.equal(255 - images, other) for (images, _), (other, _) in zip(plain, inverted, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line(root: Path, workers: int) -> None:
    bad = root / "test" / "bee" / "2.png"
    bad.write_bytes(b"no image")
    feed = open_data(spec_of("streaming", root=root, workers=workers)).evaluation["test"]
    with pytest.raises(BadInput) as caught:
        list(feed.batches(2))
    assert str(caught.value) == f"unreadable image: {bad} (not an image); repair or remove it"


def test_global_random_states_are_left_alone(root: Path) -> None:
    def states() -> tuple[object, ...]:
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), numpy, torch.get_rng_state().tolist()

    splits = open_data(spec_of("streaming", root=root, workers=0, **FULL))
    before = states()
    collected(splits.train, 4)
    list(splits.evaluation["test"].batches(2))
    assert states() == before


def test_rand_augment_follows_the_key_not_the_global_states() -> None:
    image = Image.fromarray(random_pixels(0, 20, 20, 3))
    spec = spec_of("streaming", resolution=20, rand_augment="rand-m9-n3-mstd0.5-inc1")
    made = []
    for seed, number in ((1, 0), (2, 0), (1, 1)):
        random.seed(seed)
        made.append(training_crop(image, spec, Key(number)).tobytes())
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(("text", "said"), [("nonsense", "rand-m9-mstd0.5-inc1"), ("rand-x9", "rand-x9")])
def test_rand_augment_must_be_in_timms_form(root: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        open_data(spec_of("streaming", root=root, workers=0, rand_augment=text))


def test_rand_augment_needs_colour(root: Path) -> None:
    with pytest.raises(BadInput, match="needs 3 channels, not 1"):
        open_data(spec_of("streaming", root=root, workers=0, channels=1, rand_augment="rand-m9"))


def test_rand_augment_survives_every_level_of_posterize() -> None:
    image = Image.fromarray(random_pixels(0, 20, 20, 3))
    transform = rand_augment(spec_of("streaming", rand_augment="rand-m10-inc1-n1"))
    (posterize,) = [operation for operation in transform.ops if "Posterize" in operation.name]
    posterize.prob = 1.0
    assert posterize(image).tobytes() == Image.new("RGB", (20, 20)).tobytes()
    assert posterize.aug_fn(image, 8).tobytes() == image.tobytes()
    assert np.array_equal(np.asarray(posterize.aug_fn(image, 3)), np.asarray(image) & 0b11100000)


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("channels", [1, 3])
def test_padded_crops_in_workers(mode: str, channels: int) -> None:
    image = Image.fromarray(random_pixels(0, 8, 8, 3)).convert("L" if channels == 1 else "RGB")
    spec = spec_of("streaming", crop="pad", crop_padding=3, padding_mode=mode, flip=True, channels=channels)
    pixels = np.asarray(image)
    numpy_mode = "reflect" if mode == "reflect" else "constant"
    padded = np.pad(pixels, [(3, 3), (3, 3), (0, 0)][: pixels.ndim], mode=numpy_mode)
    windows = {padded[top : top + 8, left : left + 8].tobytes() for top in range(7) for left in range(7)}
    flipped = {padded[top : top + 8, left : left + 8][:, ::-1].tobytes() for top in range(7) for left in range(7)}
    made = [np.asarray(training_crop(image, spec, stream(0, AUGMENT, 0, number))).tobytes() for number in range(60)]
    assert set(made) <= windows | flipped
    assert len(set(made) & windows) > 10
    assert len(set(made) & flipped) > 10


@pytest.mark.parametrize(("name", "said"), [("tfds/mnist", "no random access"), ("wsd/x", "did you mean 'wds/'")])
def test_unknown_data_sets_are_refused(root: Path, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        describe(spec_of("streaming", root=root, dataset=name))
