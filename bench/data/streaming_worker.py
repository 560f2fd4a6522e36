"""What a worker process does: read, decode, crop, flip and maybe RandAugment one image after another."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from bench.data.decode import UnreadableImage, converted, fit, to_array
from bench.data.device_batch import DeviceBatch, device_batch
from bench.data.draws import CropDraws, draw_crops
from bench.data.listing import Reader
from bench.data.nvjpeg import EncodedBatch, encoded_batch
from bench.data.training_image import training_image, unreadable
from bench.errors import BadInput
from bench.rng import AUGMENT, stream
from bench.spec import DataSpec
from methods.ops.keys import Key

CROP_SHARE = 0.875
"""Evaluation: the shorter side is resized to floor(resolution / CROP_SHARE) and the centre cut out."""


class Request(NamedTuple):
    """Images wanted, by their positions in the split; epoch None asks for the evaluation's crop."""

    positions: np.ndarray
    seed: int = 0
    epoch: int | None = None


class Refusal(NamedTuple):
    """Why a batch could not be made, in one line; an exception would come back wrapped in the worker's traceback."""

    reason: str


Answer = Tensor | DeviceBatch | EncodedBatch | Refusal


@dataclass(frozen=True)
class ImageBatches(Dataset[Answer]):
    """A data set whose items are whole batches: uint8 (B, C, resolution, resolution), or what the device makes them of.

    selection: positions in the reader, indexed by position in the split. An image's random numbers are keyed by (seed,
    epoch, position in the split), so neither the number of workers nor the batch size matters.
    """

    reader: Reader
    selection: np.ndarray
    data: DataSpec

    def __getitem__(self, request: Request) -> Answer:
        places = self.selection[request.positions].tolist()
        try:
            if request.epoch is None:
                return _stacked([evaluation_crop(self._whole(place), self.data.resolution) for place in places])
            positions = request.positions.tolist()
            keys = [stream(request.seed, AUGMENT, request.epoch, position) for position in positions]
            return self._training(places, keys)
        except BadInput as error:
            return Refusal(str(error))

    def _training(self, places: list[int], keys: list[Key]) -> Answer:
        if self.data.decoder == "nvjpeg":
            return encoded_batch(self.reader, places, keys, self.data)
        images = (training_image(self.reader, place, self.data) for place in places)
        if self.data.augment_on == "device":
            return device_batch(images, keys, self.data)
        return _stacked([training_crop(image, self.data, key) for image, key in zip(images, keys, strict=True)])

    def _whole(self, place: int) -> Image.Image:
        try:
            return converted(lambda: self.reader.image(place), self.data.channels)
        except UnreadableImage as reason:
            raise unreadable(self.reader.name(place), reason) from None


def _stacked(images: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([to_array(image) for image in images]))


def evaluation_crop(image: Image.Image, resolution: int) -> Image.Image:
    """Resize and centre crop as timm and torchvision evaluate on ImageNet."""
    return fit(image, int(resolution / CROP_SHARE), resolution)


def training_crop(image: Image.Image, data: DataSpec, key: Key) -> Image.Image:
    """Crop, flip and RandAugment one image with the random numbers of `key`.

    "random_resized" cuts its box from the whole image and resizes it with Pillow's antialiased bilinear filter; "pad"
    and "none" start from the resized shorter side and the centre, without the evaluation's margin.
    """
    size = data.resolution
    if data.crop == "random_resized":
        draws = draw_crops(key, data, 1, image.height, image.width)
        image = _boxed(image, draws).resize((size, size), Image.Resampling.BILINEAR)
    else:
        draws = draw_crops(key, data, 1, size, size)
        image = _shifted(fit(image, size, size), data, draws)
    if draws.flips[0]:
        image = ImageOps.mirror(image)
    if data.rand_augment is not None:
        with _global_seeds(key.fold("rand_augment")):
            image = rand_augment(data)(image)
    return image


def rand_augment(data: DataSpec) -> Callable[[Image.Image], Image.Image]:
    """timm's RandAugment with the settings of its create_transform. BadInput for a text that timm cannot read."""
    if data.channels != 3:
        raise BadInput(f"data.rand_augment '{data.rand_augment}': needs 3 channels, not {data.channels}")
    return _rand_augment(data.rand_augment or "", data.resolution, data.mean)


@functools.lru_cache(maxsize=4)
def _rand_augment(text: str, resolution: int, mean: tuple[float, ...]) -> Callable[[Image.Image], Image.Image]:
    from timm.data import auto_augment

    settings = {
        "translate_const": int(resolution * 0.45),
        "img_mean": tuple(min(255, round(255 * value)) for value in mean),
        "interpolation": Image.Resampling.BILINEAR,
    }
    try:
        transform = auto_augment.rand_augment_transform(text, settings)
    except (AssertionError, ValueError, KeyError, NotImplementedError) as error:
        reason = str(error) or "not in timm's form, such as rand-m9-mstd0.5-inc1"
        raise BadInput(f"data.rand_augment '{text}': {reason}") from None
    for operation in transform.ops:
        if operation.aug_fn is auto_augment.posterize:
            operation.aug_fn = _posterize
    return transform


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm asks for 0 bits at the highest level, which Pillow turned into black before 13.0 and now refuses."""
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _boxed(image: Image.Image, draws: CropDraws) -> Image.Image:
    if draws.boxes is None:
        return image
    top, left, height, width = draws.boxes[0].tolist()
    return image.crop((left, top, left + width, top + height))


def _shifted(image: Image.Image, data: DataSpec, draws: CropDraws) -> Image.Image:
    if draws.shifts is None:
        return image
    pixels = np.asarray(image)
    padding = ((data.crop_padding,) * 2, (data.crop_padding,) * 2, (0, 0))[: pixels.ndim]
    padded = np.pad(pixels, padding, mode="reflect" if data.padding_mode == "reflect" else "constant")
    top, left = draws.shifts[0].tolist()
    return Image.fromarray(padded[top : top + data.resolution, left : left + data.resolution])


@contextlib.contextmanager
def _global_seeds(key: Key) -> Iterator[None]:
    """timm's RandAugment draws from the global states of random and NumPy: seed them for one image and restore them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(key.integer())
    np.random.seed(key.integer() % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
