"""Crops, flips, resizing and normalisation against slow loops, torchvision, Pillow and timm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image
from timm.data import create_dataset, create_transform
from torch import Tensor
from torchvision.transforms import InterpolationMode

from bench.data import augment, resident
from bench.data.augment import crop_and_resize, resize, shift_and_flip
from bench.data.decode import fit
from bench.data.draws import draw_crops, epoch_crops, epoch_order
from bench.data.folder import FolderSource
from bench.data.normalise import Normaliser
from bench.data.resident import ResidentTrain
from bench.data.streamed_folder import StreamedFolder
from bench.data.streaming_worker import evaluation_crop, training_crop
from methods.ops.keys import Key
from tests.unit.data_folders import random_pixels, spec_of, write_folder

SHAPES = [(3, 8, 8), (1, 5, 9), (3, 12, 7)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


def slow_crop(image: np.ndarray, shift: list[int], flip: bool, padding: int, mode: str) -> np.ndarray:
    """Pad one image with NumPy, cut, mirror."""
    _, height, width = image.shape
    numpy_mode = "reflect" if mode == "reflect" else "constant"
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode=numpy_mode)
    cut = padded[:, shift[0] : shift[0] + height, shift[1] : shift[1] + width]
    return cut[:, :, ::-1] if flip else cut


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["reflect", "zeros"])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_padded_crops_equal_a_loop(shape: tuple[int, ...], mode: str, padding: int, kind: torch.dtype) -> None:
    images = random_pixels(0, 40, *shape)
    spec = spec_of(crop="pad", crop_padding=padding, flip=True)
    draws = draw_crops(Key(1), spec, 40, *shape[1:])
    assert draws.shifts is not None
    index = np.random.default_rng(2).permutation(40)[:30]
    made = shift_and_flip(
        torch.from_numpy(images).to(kind), torch.from_numpy(index), torch.from_numpy(draws.flips[index]),
        torch.from_numpy(draws.shifts[index]), padding, mode,
    )  # fmt: skip
    expected = [slow_crop(images[i], draws.shifts[i].tolist(), bool(draws.flips[i]), padding, mode) for i in index]
    assert made.dtype == kind
    assert np.array_equal(made.numpy(), np.stack(expected))


def test_flips_alone_equal_torchvisions() -> None:
    images = torch.from_numpy(random_pixels(0, 6, 3, 5, 7))
    flips = torch.tensor([True, False, True, True, False, False])
    made = shift_and_flip(images, torch.arange(6), flips)
    expected = [tv.horizontal_flip(image) if flip else image for image, flip in zip(images, flips, strict=True)]
    assert torch.equal(made, torch.stack(expected))


def torchvisions_crops(images: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
    crops = []
    for image, box, flip in zip(images.double(), boxes.tolist(), flips, strict=True):
        top, left, height, width = box
        size = list(image.shape[1:])
        crop = tv.resized_crop(image, top, left, height, width, size, InterpolationMode.BILINEAR, antialias=True)
        crops.append(tv.horizontal_flip(crop) if flip else crop)
    return torch.stack(crops)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 64, 64)])
def test_random_resized_crops_equal_torchvisions(shape: tuple[int, ...]) -> None:
    """Within 0.02 of 255 levels on floating images; on uint8 the same after rounding, but for near ties."""
    images = torch.from_numpy(random_pixels(0, 50, *shape))
    draws = draw_crops(Key(1), spec_of(crop="random_resized", flip=True), 50, *shape[1:])
    assert draws.boxes is not None
    boxes, flips = torch.from_numpy(draws.boxes), torch.from_numpy(draws.flips)
    expected = torchvisions_crops(images, boxes, flips)
    assert (crop_and_resize(images.float(), boxes, flips) - expected).abs().max() < 0.02
    rounded = crop_and_resize(images, boxes, flips)
    assert rounded.dtype == torch.uint8
    assert (rounded - expected).abs().max() < 0.5 + 0.02
    assert (rounded == expected.round()).double().mean() > 0.95


def test_a_box_of_the_whole_image_changes_nothing() -> None:
    images = torch.from_numpy(random_pixels(0, 4, 3, 33, 47))
    boxes = torch.tensor([[0, 0, 33, 47]]).expand(4, -1)
    assert torch.equal(crop_and_resize(images, boxes, torch.zeros(4, dtype=torch.bool)), images)


def test_pixels_outside_the_box_have_no_say() -> None:
    images = torch.full((1, 1, 16, 16), 255, dtype=torch.uint8)
    images[:, :, 4:9, 3:11] = 7
    boxes = torch.tensor([[4, 3, 5, 8]])
    assert (crop_and_resize(images, boxes, torch.tensor([False])) == 7).all()


@pytest.mark.parametrize(("before", "after"), [(8, 32), (8, 20), (32, 64), (32, 12)])
def test_resizing_equals_torchvisions(before: int, after: int) -> None:
    images = torch.from_numpy(random_pixels(0, 10, 3, before, before))
    expected = torch.stack(
        [tv.resize(image.double(), [after, after], InterpolationMode.BILINEAR, antialias=True) for image in images]
    )
    assert torch.allclose(resize(images.float(), after).double(), expected, atol=1e-3)
    made = resize(images, after)
    assert made.dtype == torch.uint8
    assert (made - expected).abs().max() <= 0.5 + 1e-3


def test_enlarging_by_a_power_of_two_is_exact() -> None:
    """Weights are then eighths of a pixel, so float32 and float64 round the same and so do all devices."""
    images = torch.from_numpy(random_pixels(0, 200, 1, 8, 8))
    expected = torch.nn.functional.interpolate(images.double(), (32, 32), mode="bilinear", align_corners=False)
    assert torch.equal(resize(images, 32), expected.round().to(torch.uint8))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalisation_equals_torchvisions(kind: torch.dtype) -> None:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    images = torch.from_numpy(random_pixels(0, 16, 3, 32, 32))
    expected = tv.normalize(tv.to_dtype(images, torch.float64, scale=True), list(mean), list(std))
    assert torch.allclose(Normaliser(mean, std)(images.to(kind)).double(), expected, atol=2e-6)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalisation_in_blocks_equals_one_operation(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, layout: torch.memory_format
) -> None:
    """Every level in every channel, the last block smaller; the same with a gradient, which takes the other path."""
    normalise = Normaliser((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    levels = torch.arange(256).view(1, 1, 16, 16).expand(5, 3, 16, 16) - torch.arange(5).view(5, 1, 1, 1)
    images = levels.remainder(256).to(kind).contiguous(memory_format=layout)
    expected = torch.addcmul(normalise.shift, images.to(torch.float32), normalise.scale)
    monkeypatch.setattr("bench.data.normalise.CACHED_VALUES", 2 * images[0].numel())
    made = normalise(images)
    assert torch.equal(made, expected)
    assert made.is_contiguous(memory_format=layout)
    if kind != torch.uint8:
        tracked = normalise(images.requires_grad_())
        assert torch.equal(tracked, expected)
        (gradient,) = torch.autograd.grad(tracked.sum(), images)
        assert torch.equal(gradient, normalise.scale.expand_as(images).to(kind))


def test_an_epoch_equals_a_loop_over_its_draws() -> None:
    images = random_pixels(0, 30, 3, 8, 8)
    spec = spec_of(crop="pad", crop_padding=3, flip=True)
    feed = ResidentTrain(torch.from_numpy(images), torch.arange(30), spec)
    draws = epoch_crops(4, 2, spec, 30)
    assert draws.shifts is not None
    order = epoch_order(4, 2, 30)
    expected = [slow_crop(images[i], draws.shifts[i].tolist(), bool(draws.flips[i]), 3, "reflect") for i in order]
    made = torch.cat([batch for batch, _ in feed.epoch(4, 2, 7)])
    assert np.array_equal(made.numpy(), np.stack(expected[:28]))


@pytest.mark.parametrize("size", [(8, 8), (20, 14), (14, 20), (9, 31), (5, 4), (33, 33)])
@pytest.mark.parametrize("resolution", [8, 7, 16])
def test_folder_images_equal_torchvisions_resize_and_centre_crop(
    tmp_path: Path, size: tuple[int, int], resolution: int
) -> None:
    root = write_folder(tmp_path / "data", train=2, test=1, width=size[0], height=size[1])
    arrays = FolderSource(spec_of(root=root, resolution=resolution)).arrays()
    paths = [root / "train" / name / f"{number}.png" for name in ("ant", "bee") for number in range(2)]
    for array, path in zip(arrays["train"], paths, strict=True):
        image = tv.resize(Image.open(path), [resolution], InterpolationMode.BILINEAR)
        expected = tv.pil_to_tensor(tv.center_crop(image, [resolution]))
        assert np.array_equal(array, expected.numpy())


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (64, 64)])
def test_the_evaluations_crop_equals_timms(size: tuple[int, int]) -> None:
    image = Image.fromarray(random_pixels(0, *size, 3))
    timms = create_transform(input_size=24, is_training=False, interpolation="bilinear", normalize=False)
    assert np.array_equal(np.asarray(evaluation_crop(image, 24)), timms(image).permute(1, 2, 0).numpy())
    assert fit(image, 27, 24).size == (24, 24)


def test_a_workers_random_resized_crop_equals_torchvisions_on_the_image() -> None:
    spec = spec_of("streaming", resolution=16, crop="random_resized", flip=True)
    image = Image.fromarray(random_pixels(0, 50, 70, 3))
    for number in range(20):
        draws = draw_crops(Key(number), spec, 1, 50, 70)
        assert draws.boxes is not None
        top, left, height, width = draws.boxes[0].tolist()
        expected = tv.resized_crop(image, top, left, height, width, [16, 16], InterpolationMode.BILINEAR)
        expected = tv.horizontal_flip(expected) if draws.flips[0] else expected
        assert training_crop(image, spec, Key(number)).tobytes() == expected.tobytes()


def test_a_streaming_folder_lists_what_timm_lists(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", train=12, classes=("ant", "bee", "cow"))
    source = StreamedFolder(spec_of("streaming", root=root))
    for part in ("train", "test"):
        theirs = create_dataset("", root=str(root), split=part)
        reader, listing = source.reader(part), source.listing()
        samples = listing.train if part == "train" else listing.test
        assert samples is not None
        ours = {reader.name(position): label for position, label in enumerate(samples.labels.tolist())}
        assert ours == dict(theirs.reader.samples)
        assert listing.class_names == tuple(theirs.reader.class_to_idx)


def test_planted_draws_in_batch_order_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """If draws belonged to places in a batch instead of images, the loop over an epoch's draws would differ."""
    monkeypatch.setattr(resident, "epoch_crops", lambda *arguments: _shuffled(*arguments))
    with pytest.raises(AssertionError):
        test_an_epoch_equals_a_loop_over_its_draws()


def _shuffled(seed: int, epoch: int, data: object, size: int) -> object:
    draws = epoch_crops(seed, epoch, data, size)  # type: ignore[arg-type]
    back = np.argsort(epoch_order(seed, epoch, size))
    assert draws.shifts is not None
    return type(draws)(draws.flips[back], draws.shifts[back])


def test_planted_reflection_with_the_border_repeated_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def symmetric(positions: Tensor, length: int, mode: str) -> Tensor:
        folded = torch.where(positions < 0, -1 - positions, positions)
        return torch.where(folded >= length, 2 * length - 1 - folded, folded)

    monkeypatch.setattr(augment, "_inside", symmetric)
    with pytest.raises(AssertionError):
        test_padded_crops_equal_a_loop((3, 8, 8), "reflect", 4, torch.uint8)


def test_planted_sampling_beyond_the_box_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unclamped(length: int, start: Tensor, box: Tensor, device: torch.device) -> Tensor:
        return start + (torch.arange(length, device=device) + 0.5) * (box / length) - 0.5

    monkeypatch.setattr(augment, "_source_positions", unclamped)
    with pytest.raises(AssertionError):
        test_random_resized_crops_equal_torchvisions((3, 8, 8))


def test_planted_normalisation_of_unscaled_means_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Normaliser.forward
    monkeypatch.setattr(Normaliser, "forward", lambda self, images: honest(self, images.float() / 255))
    with pytest.raises(AssertionError):
        test_normalisation_equals_torchvisions(torch.uint8)
