"""A training batch that is cropped, resized and flipped on the device: what a worker sends for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.augment import shift_and_flip
from bench.data.placement import Placement, placement
from bench.data.resize import columns_first, resize_batch
from bench.data.resize_plan import Cut, ResizePlan, resize_plan
from bench.spec import DataSpec
from methods.ops.keys import Key


@dataclass(frozen=True)
class Shifts:
    """What is left to do after resizing where `data.crop` is "pad": flips (B,) bool, shifts (B, 2) int64."""

    flips: Tensor
    shifts: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> Shifts:
        """The same with `move` applied to its tensors."""
        return Shifts(move(self.flips), move(self.shifts))


@dataclass(frozen=True)
class DeviceBatch:
    """pixels: uint8 (P, C), those of each image's box one after the other, and how squares are read from them."""

    pixels: Tensor
    plan: ResizePlan
    shifts: Shifts | None

    def pin_memory(self) -> DeviceBatch:
        """Called by the DataLoader, so that copies to an accelerator run beside its work."""
        return self.moved(lambda values: values.pin_memory())

    def moved(self, move: Callable[[Tensor], Tensor]) -> DeviceBatch:
        """The same with `move` applied to its tensors."""
        shifts = None if self.shifts is None else self.shifts.moved(move)
        return DeviceBatch(move(self.pixels), self.plan.moved(move), shifts)


def device_batch(images: Iterable[Image.Image], keys: Sequence[Key], data: DataSpec) -> DeviceBatch:
    """Draw crops and flips with the images' keys, and cut out what they use. images: grey or RGB by data.channels."""
    placements, cuts, stored, offset = [], [], [], 0
    for image, key in zip(images, keys, strict=True):
        place = placement(image.width, image.height, data, key)
        left, top, width, height = place.box
        pixels = np.asarray(image.crop((left, top, left + width, top + height))).reshape(height, width, data.channels)
        exchanged = columns_first(height, width, place.target_height, place.target_width)
        if exchanged:
            pixels = pixels.swapaxes(0, 1)
        placements.append(place)
        stored.append(pixels.reshape(-1, data.channels))
        cuts.append(cut(place, data, offset, pixels.shape[1], exchanged))
        offset += height * width
    plan = resize_plan(cuts, data.resolution)
    return DeviceBatch(torch.from_numpy(np.concatenate(stored)), plan, shifts_of(placements, data))


def cut(place: Placement, data: DataSpec, offset: int, stride: int, transposed: bool) -> Cut:
    """A placement as the resize plan wants it. Padded crops are flipped later, after they were shifted."""
    _, _, width, height = place.box
    flip = bool(place.draws.flips[0]) and data.crop != "pad"
    return Cut(
        offset, stride, height, width, place.target_height, place.target_width, place.top, place.left, flip, transposed
    )


def shifts_of(placements: Sequence[Placement], data: DataSpec) -> Shifts | None:
    """The shifts and flips of padded crops."""
    if data.crop != "pad":
        return None
    flips = np.concatenate([place.draws.flips for place in placements])
    shifts = [place.draws.shifts for place in placements if place.draws.shifts is not None]
    return Shifts(torch.from_numpy(flips), torch.from_numpy(np.concatenate(shifts)))


def augmented(pixels: Tensor, plan: ResizePlan, shifts: Shifts | None, data: DataSpec) -> Tensor:
    """uint8 (B, C, resolution, resolution) from pixels, plan and shifts that lie on one device."""
    images = resize_batch(pixels, plan)
    if shifts is None:
        return images
    index = torch.arange(len(images), device=images.device)
    return shift_and_flip(images, index, shifts.flips, shifts.shifts, data.crop_padding, data.padding_mode)
