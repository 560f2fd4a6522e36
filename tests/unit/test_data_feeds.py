"""Feeds over resident images: batches, order, resume, transforms."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.facts import describe
from bench.data.normalise import Normaliser
from bench.data.open import open_data
from bench.data.resident import ResidentEval, ResidentTrain
from bench.errors import BadInput
from tests.unit.data_folders import random_pixels, spec_of, write_folder

CHANGES: list[dict[str, object]] = [
    {},
    {"flip": True},
    {"crop": "pad", "crop_padding": 3, "flip": True},
    {"crop": "pad", "crop_padding": 3, "padding_mode": "zeros"},
    {"crop": "random_resized", "flip": True},
    {"crop": "random_resized", "resolution": 12, "flip": True},
    {"crop": "pad", "resolution": 12, "flip": True},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


def train_feed(size: int = 23, **changes: object) -> ResidentTrain:
    """Labels are the images' positions, so that every image in a batch can be recognised."""
    return ResidentTrain(torch.from_numpy(random_pixels(0, size, 3, 8, 8)), torch.arange(size), spec_of(**changes))


def by_label(feed: ResidentTrain, batch_size: int, epoch: int = 0) -> dict[int, Tensor]:
    batches = list(feed.epoch(0, epoch, batch_size))
    return {int(label): image for images, labels in batches for image, label in zip(images, labels, strict=True)}


@pytest.mark.parametrize("changes", CHANGES)
def test_an_image_is_cropped_alike_in_every_batch_size(changes: dict[str, object]) -> None:
    feed = train_feed(24, **changes)
    whole = by_label(feed, 24)
    for batch_size in (1, 4, 12):
        parts = by_label(feed, batch_size)
        assert parts.keys() == whole.keys()
        assert all(torch.equal(parts[label], whole[label]) for label in whole)


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("start_step", [0, 1, 5])
def test_blocks_of_batches_change_nothing(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], start_step: int
) -> None:
    feed = train_feed(**changes)
    singly = list(feed.epoch(3, 5, 4, start_step))
    monkeypatch.setattr(ResidentTrain, "_block", lambda self, batch_size: 3)
    at_once = list(feed.epoch(3, 5, 4, start_step))
    assert [len(images) for images, _ in at_once] == [4] * (5 - start_step)
    for (images, labels), (other_images, other_labels) in zip(singly, at_once, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("changes", CHANGES)
def test_a_resumed_epoch_continues_exactly(changes: dict[str, object]) -> None:
    feed = train_feed(**changes)
    whole, rest = list(feed.epoch(3, 5, 4)), list(feed.epoch(3, 5, 4, start_step=2))
    assert len(rest) == len(whole) - 2
    for (images, labels), (images_again, labels_again) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)


@pytest.mark.parametrize("changes", CHANGES)
def test_rows_of_batches_are_what_the_whole_batches_have_there(changes: dict[str, object]) -> None:
    feed, rows = train_feed(**changes), np.array([3, 0])
    for size in (4, 50):
        whole, some = list(feed.epoch(3, 5, size)), list(feed.epoch(3, 5, size, rows=rows))
        for (images, labels), (other_images, other_labels) in zip(whole, some, strict=True):
            assert torch.equal(images[rows], other_images)
            assert torch.equal(labels[rows], other_labels)
    later = list(feed.epoch(3, 5, 4, start_step=3, rows=rows))
    assert torch.equal(torch.cat([labels for _, labels in later]), torch.cat([
        labels[rows] for _, labels in list(feed.epoch(3, 5, 4))[3:]
    ]))  # fmt: skip


def test_dealt_batches_are_every_image_once() -> None:
    feed = evaluation_feed()
    whole = [labels.tolist() for _, labels in feed.batches(2)]
    for processes in (2, 3, 20):
        dealt = [[labels.tolist() for _, labels in feed.batches(2, None, (p, processes))] for p in range(processes)]
        assert [dealt[number % processes][number // processes] for number in range(len(whole))] == whole
        assert sum(map(len, dealt)) == len(whole)


@pytest.mark.parametrize("changes", CHANGES)
def test_batches_are_uint8_of_the_resolution_and_change_with_the_epoch(changes: dict[str, object]) -> None:
    feed = train_feed(**changes)
    side = int(str(changes.get("resolution", 8)))
    for images, labels in feed.epoch(0, 0, 5):
        assert images.shape == (5, 3, side, side)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert images.is_contiguous()
    first, second = by_label(feed, 23, 0), by_label(feed, 23, 1)
    assert list(first) != list(second)
    if changes:
        assert any(not torch.equal(first[label], second[label]) for label in first)
    else:
        assert all(torch.equal(first[label], feed.images[label]) for label in first)


def test_each_epoch_is_a_permutation_without_the_last_partial_batch() -> None:
    feed = train_feed(23)
    assert feed.steps(5) == 4
    labels = torch.cat([labels for _, labels in feed.epoch(0, 0, 5)])
    assert len(labels) == len(set(labels.tolist())) == 20


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    feed = train_feed(7)
    assert feed.steps(8) == 1
    ((images, labels),) = feed.epoch(0, 0, 8)
    assert sorted(labels.tolist()) == list(range(7))
    assert len(images) == 7
    assert list(feed.epoch(0, 0, 8, start_step=1)) == []


def test_a_batch_needs_a_size() -> None:
    with pytest.raises(ValueError, match="batch_size 0"):
        train_feed().steps(0)


def test_batches_do_not_share_memory_with_the_data() -> None:
    feed = train_feed(8)
    before = feed.images.clone()
    for images, _ in feed.epoch(0, 0, 4):
        images.fill_(0)
    evaluation = ResidentEval(feed.images, feed.labels, 8)
    for images, _ in evaluation.batches(3):
        images.fill_(0)
    for _ in evaluation.batches(3, lambda images, index: images.fill_(0)):
        pass
    assert torch.equal(feed.images, before)


def test_global_random_states_are_left_alone(tmp_path: Path) -> None:
    def states() -> tuple[object, ...]:
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), numpy, torch.get_rng_state().tolist()

    before = states()
    splits = open_data(spec_of(root=write_folder(tmp_path / "data"), crop="random_resized", flip=True))
    list(splits.train.epoch(0, 0, 2))
    list(splits.evaluation["test"].batches(2))
    assert states() == before


def evaluation_feed(resolution: int = 8) -> ResidentEval:
    return ResidentEval(torch.from_numpy(random_pixels(1, 7, 3, 8, 8)), torch.arange(7), resolution)


def test_evaluation_keeps_the_order_and_the_last_partial_batch() -> None:
    feed = evaluation_feed()
    batches = list(feed.batches(3))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), feed.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), feed.labels)
    assert feed.native == (3, 8, 8)


def test_a_transform_meets_native_images_and_their_positions() -> None:
    feed = evaluation_feed(resolution=16)
    seen: list[tuple[Tensor, Tensor]] = []

    def invert(images: Tensor, index: Tensor) -> Tensor:
        seen.append((images.clone(), index))
        return 255 - images

    inverted = torch.cat([images for images, _ in feed.batches(3, invert)])
    assert torch.equal(torch.cat([images for images, _ in seen]), feed.images)
    assert torch.cat([index for _, index in seen]).tolist() == list(range(7))
    opposite = ResidentEval(255 - feed.images, feed.labels, 16)
    assert torch.equal(inverted, torch.cat([images for images, _ in opposite.batches(7)]))
    assert inverted.shape == (7, 3, 16, 16)


def test_a_transform_may_give_floating_images() -> None:
    feed = evaluation_feed(resolution=16)
    plain = torch.cat([images for images, _ in feed.batches(7)])
    floating = torch.cat([images for images, _ in feed.batches(7, lambda images, index: images.double())])
    assert floating.dtype == torch.float32
    assert torch.equal(floating.round().to(torch.uint8), plain)


def test_a_transform_must_keep_the_shape() -> None:
    with pytest.raises(ValueError, match=r"must keep the shape"):
        list(evaluation_feed().batches(3, lambda images, index: images[:, :1]))


def test_the_normaliser_treats_uint8_and_float_alike() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    normalise = Normaliser((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    assert torch.equal(normalise(images), normalise(images.float()))
    assert normalise(images.double()).dtype == torch.float32
    assert not normalise.state_dict()
    assert not list(normalise.parameters())


def test_the_normaliser_lets_gradients_through_and_leaves_its_input_alone() -> None:
    images = torch.full((1, 3, 2, 2), 100.0, requires_grad=True)
    Normaliser((0.5,) * 3, (0.25,) * 3)(images).sum().backward()
    assert images.grad is not None
    assert torch.allclose(images.grad, torch.full_like(images, 1 / (255 * 0.25)))
    assert (images == 100).all()


def test_the_normaliser_wants_as_many_means_as_deviations() -> None:
    with pytest.raises(ValueError, match="2 means and 1"):
        Normaliser((0.5, 0.5), (0.5,))


def test_open_data_gives_what_was_described(tmp_path: Path) -> None:
    spec = spec_of(root=write_folder(tmp_path / "data", train=6), validation=0.3, train_per_class=3)
    splits = open_data(spec)
    assert splits.facts == describe(spec)
    assert splits.train.size == splits.facts.sizes["train"] == 6
    assert {name: feed.size for name, feed in splits.evaluation.items()} == {"validation": 4, "test": 4}
    shown = torch.cat([images for images, _ in splits.train.epoch(0, 0, 6)])
    held_out = torch.cat([images for images, _ in splits.evaluation["validation"].batches(9)])
    assert len({image.numpy().tobytes() for image in [*shown, *held_out]}) == 10


def test_data_that_changed_since_the_plan_are_refused(tmp_path: Path) -> None:
    spec = spec_of(root=write_folder(tmp_path / "data"))
    planned = spec.model_copy(update={"digest": describe(spec).digest})
    assert open_data(planned).train.size == 8
    (tmp_path / "data" / "train" / "ant" / "0.png").unlink()
    with pytest.raises(BadInput, match="not those that this run was planned with"):
        open_data(planned)


def test_reflection_cannot_reach_beyond_the_image(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    with pytest.raises(BadInput, match=r"crop_padding 8: padding by reflection can be 7 at most at 8 px"):
        open_data(spec_of(root=root, crop="pad", crop_padding=8))
    assert open_data(spec_of(root=root, crop="pad", crop_padding=8, padding_mode="zeros")).train.size == 8


def test_images_that_do_not_fit_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bench.data.open._on_device", full)
    with pytest.raises(BadInput, match=r"do not fit on cpu; use data\.source: streaming"):
        open_data(spec_of(root=write_folder(tmp_path / "data")))
