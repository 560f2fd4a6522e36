"""Cropping, resizing and flipping on the device: the worker processes' bytes, whatever the images and the crop."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from bench.data import arrival
from bench.data.device_batch import DeviceBatch, augmented, device_batch
from bench.data.open import open_data
from bench.data.streamed_folder import StreamedFolder
from bench.data.streaming_worker import ImageBatches, Request, training_crop
from bench.data.training_image import training_image
from bench.errors import BadInput
from bench.rng import AUGMENT, stream
from tests.unit.data_folders import random_pixels, spec_of, write_image
from tests.unit.test_data_shards import samples, write_shard

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
CROPS = [
    {"crop": "random_resized"}, {"crop": "pad", "crop_padding": 3}, {"crop": "pad", "padding_mode": "zeros"}, {},
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of many sizes and kinds, in JPEG and PNG."""
    folder = tmp_path / "data"
    sizes = [(20, 14), (14, 20), (9, 40), (64, 11), (8, 8), (1, 1), (33, 32)]
    for label in ("ant", "bee"):
        for number, (width, height) in enumerate(sizes):
            write_image(folder / "train" / label / f"{number}.png", number, width, height)
            write_image(folder / "train" / label / f"{number}.jpg", number, width, height)
        for mode in ("L", "RGBA", "P", "CMYK"):
            image = Image.fromarray(random_pixels(7, 30, 21, 3)).convert(mode)
            image.save(folder / "train" / label / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}")
        write_image(folder / "test" / label / "0.png", 1, 30, 20)
    return folder


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("jpeg_side", [None, 16])
def test_the_device_makes_the_workers_bytes(
    root: Path, crop: dict[str, object], channels: int, jpeg_side: int | None
) -> None:
    plain = {"root": root, "workers": 0, "flip": True, "channels": channels, "jpeg_side": jpeg_side, **crop}
    workers, device = (open_data(spec_of("streaming", augment_on=place, **plain)) for place in ("workers", "device"))
    for epoch in range(2):
        made = list(device.train.epoch(3, epoch, 5))
        for (images, labels), (others, other_labels) in zip(workers.train.epoch(3, epoch, 5), made, strict=True):
            assert images.shape == others.shape == (5, channels, 8, 8)
            assert others.is_contiguous()
            assert torch.equal(images, others)
            assert torch.equal(labels, other_labels)
    (shown,), (other,) = (list(splits.evaluation["test"].batches(4)) for splits in (workers, device))
    assert torch.equal(shown[0], other[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_batch_size_and_resume_change_nothing(root: Path, workers: int) -> None:
    """36 images in batches of 5 or 7: two workers never share the batches evenly."""
    plain = {"root": root, "crop": "random_resized", "flip": True, "augment_on": "device"}
    alone = open_data(spec_of("streaming", workers=0, **plain)).train
    helped = open_data(spec_of("streaming", workers=workers, **plain)).train
    whole = torch.cat([images for images, _ in alone.epoch(0, 4, 5)])
    assert torch.equal(torch.cat([images for images, _ in helped.epoch(0, 4, 7)]), whole[:35])
    resumed = torch.cat([images for images, _ in helped.epoch(0, 4, 5, start_step=3)])
    assert torch.equal(resumed, whole[15:])
    assert not torch.equal(torch.cat([images for images, _ in helped.epoch(0, 5, 5)]), whole)


@pytest.mark.parametrize("augment_on", ["workers", "device"])
def test_random_numbers_follow_the_position_in_the_split(root: Path, augment_on: str) -> None:
    """What is held out for validation does not matter to them, only where an image stands among those left."""
    spec = spec_of("streaming", root=root, crop="random_resized", flip=True, augment_on=augment_on)
    worker = ImageBatches(StreamedFolder(spec).reader("train"), np.array([20, 3, 11]), spec)
    answer = worker[Request(np.array([2, 0]), 5, 1)]
    images = augmented(answer.pixels, answer.plan, None, spec) if isinstance(answer, DeviceBatch) else answer
    assert isinstance(images, torch.Tensor)
    for made, (place, position) in zip(images, ((11, 2), (20, 0)), strict=True):
        image = training_image(worker.reader, place, spec)
        expected = np.asarray(training_crop(image, spec, stream(5, AUGMENT, 1, position)))
        assert np.array_equal(made.permute(1, 2, 0).numpy(), expected)


def test_shards_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", samples(0, 6))
    write_shard(tmp_path / "test-0.tar", samples(100, 2))
    plain = {"root": tmp_path, "dataset": "wds/", "workers": 0, "crop": "random_resized", "flip": True}
    feeds = [open_data(spec_of("streaming", **plain, **more)).train for more in (
        {}, {"augment_on": "device"}, {"augment_on": "device", "decoder": "torchvision"},
    )]  # fmt: skip
    first, second, third = (list(feed.epoch(0, 0, 3)) for feed in feeds)
    for (images, labels), (others, other_labels), (png, _) in zip(first, second, third, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(images, png)
        assert torch.equal(labels, other_labels)


def test_a_damaged_image_is_named_in_one_line(root: Path) -> None:
    bad = root / "train" / "bee" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    for workers in (0, 2):
        feed = open_data(spec_of("streaming", root=root, workers=workers, augment_on="device")).train
        with pytest.raises(BadInput) as caught:
            list(feed.epoch(0, 0, 4))
        assert str(caught.value).startswith(f"unreadable image: {bad} (")
        assert "\n" not in str(caught.value)


def batch_of(images: list[Image.Image], spec: object, epoch: int = 0) -> DeviceBatch:
    keys = [stream(0, AUGMENT, epoch, position) for position in range(len(images))]
    return device_batch(images, keys, spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("planted", ["none", "flips", "transposition", "line weights", "shifts"])
def test_planted_faults_are_seen(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison above must be able to see, one fault at a time."""
    spec = spec_of("streaming", crop="pad" if planted == "shifts" else "random_resized", flip=True, augment_on="device")
    images = [Image.fromarray(random_pixels(number, 40, 17 + number, 3)) for number in range(8)]
    keys = [stream(0, AUGMENT, 0, position) for position in range(8)]
    expected = [np.asarray(training_crop(image, spec, key)) for image, key in zip(images, keys, strict=True)]
    if planted == "flips":
        monkeypatch.setattr("bench.data.placement.draw_crops", _unflipped)
    batch = batch_of(images, spec)
    plan, shifts = batch.plan, batch.shifts
    if planted == "transposition":
        plan = plan.__class__(**{**vars(plan), "transposed": ~plan.transposed})
    if planted == "line weights":
        plan = plan.__class__(**{**vars(plan), "line_weights": plan.line_weights.flip(0)})
    if planted == "shifts":
        assert shifts is not None
        shifts = shifts.__class__(shifts.flips, shifts.shifts.flip(1))
    made = augmented(batch.pixels, plan, shifts, spec).permute(0, 2, 3, 1).numpy()
    assert all(np.array_equal(*pair) for pair in zip(made, expected, strict=True)) is (planted == "none")


def _unflipped(*arguments: object) -> object:
    from bench.data.draws import CropDraws, draw_crops

    draws = draw_crops(*arguments)  # type: ignore[arg-type]
    return CropDraws(np.zeros_like(draws.flips), draws.shifts, draws.boxes)


def test_only_the_box_is_sent() -> None:
    image = Image.fromarray(random_pixels(0, 100, 100, 3))
    spec = spec_of("streaming", crop="random_resized", crop_scale_min=0.08, augment_on="device")
    sent = [len(batch_of([image], spec, epoch).pixels) for epoch in range(40)]
    assert max(sent) <= 100 * 100
    assert sum(sent) / 40 < 0.7 * 100 * 100


class JpegReader:
    """A Reader over one file in memory."""

    def __init__(self, image: Image.Image, ending: str) -> None:
        file = io.BytesIO()
        image.save(file, ending, **({"quality": 95} if ending == "jpeg" else {}))
        self.file = file.getvalue()

    def image(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.file))

    def encoded(self, index: int) -> bytes:
        return self.file

    def name(self, index: int) -> str:
        return "memory"


@pytest.mark.parametrize(("width", "height", "size"), [
    (640, 400, (320, 200)), (500, 300, (500, 300)), (161, 2001, (161, 2001)), (643, 1300, (161, 325)),
    (1281, 1285, (161, 161)), (90, 2000, (90, 2000)),
])  # fmt: skip
def test_jpeg_files_keep_the_side_that_is_asked_for(width: int, height: int, size: tuple[int, int]) -> None:
    """At least 160 px: 400 is halved, but the half of 300 would be too small. Lengths are rounded up."""
    smooth = Image.fromarray(random_pixels(0, 6, 8, 3)).resize((width, height), Image.Resampling.BICUBIC)
    spec = spec_of("streaming", jpeg_side=160)
    made = training_image(JpegReader(smooth, "jpeg"), 0, spec)
    assert made.size == size
    assert training_image(JpegReader(smooth, "png"), 0, spec).size == (width, height)
    box = smooth.resize(size, Image.Resampling.BOX)
    assert np.abs(np.asarray(box).astype(int) - np.asarray(made)).mean() < 2.5


@pytest.mark.parametrize(("changes", "said"), [
    ({"augment_on": "device", "rand_augment": "rand-m9"}, "rand_augment is done by workers"),
    ({"jpeg_side": 7}, "jpeg_side 7 is below the resolution 8"),
    ({"decoder": "nvjpeg"}, "set augment_on: device"),
    ({"decoder": "nvjpeg", "augment_on": "device", "jpeg_side": 9}, "needs decoder: pil; nvjpeg decodes whole"),
])  # fmt: skip
def test_settings_that_do_not_go_together(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec_of("streaming", **changes)


@pytest.mark.parametrize("change", [{"augment_on": "device"}, {"jpeg_side": 9}, {"decoder": "torchvision"}])
def test_only_streamed_data_have_these_settings(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="needs source: streaming"):
        spec_of("folder", **change)


def test_another_pillow_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "equals_pillow", lambda: False)
    open_data(spec_of("streaming", root=root, workers=0))
    with pytest.raises(BadInput, match="use augment_on: workers"):
        open_data(spec_of("streaming", root=root, workers=0, augment_on="device"))
