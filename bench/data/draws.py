"""The random part of an epoch: the order of the images, their crops and flips. NumPy only; no global state.

All of it comes from uniform numbers in [0, 1), whose stream NumPy keeps stable, never from its other distributions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.rng import AUGMENT, ORDER, stream
from bench.spec import DataSpec
from methods.ops.keys import Key

TRIES = 10
RATIO = (3 / 4, 4 / 3)
"""Number of tries and range of width / height, both torchvision's defaults for RandomResizedCrop."""


@dataclass(frozen=True)
class CropDraws:
    """flips: (N,) bool. shifts: (N, 2) int64, rows and columns in 0 .. 2 * padding. boxes: (N, 4) int64."""

    flips: np.ndarray
    shifts: np.ndarray | None = None
    boxes: np.ndarray | None = None


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """A permutation of range(size), int64, keyed by (seed, epoch)."""
    return np.argsort(stream(seed, ORDER, epoch).generator().random(size), kind="stable")


def epoch_crops(seed: int, epoch: int, data: DataSpec, size: int) -> CropDraws:
    """Draws for all images of an epoch at `data.resolution`; row i belongs to image i of the split."""
    return draw_crops(stream(seed, AUGMENT, epoch), data, size, data.resolution, data.resolution)


def draw_crops(key: Key, data: DataSpec, count: int, height: int, width: int) -> CropDraws:
    """Draws for `count` images of height x width. Flips and crops have streams of their own."""
    flips = np.zeros(count, dtype=bool)
    if data.flip:
        flips = key.fold("flip").generator().random(count) < 0.5
    crops = key.fold("crop").generator()
    if data.crop == "pad":
        shifts = np.floor(crops.random((count, 2)) * (2 * data.crop_padding + 1))
        return CropDraws(flips, shifts=shifts.astype(np.int64))
    if data.crop == "random_resized":
        uniforms = crops.random((count, TRIES, 4))
        return CropDraws(flips, boxes=resized_boxes(uniforms, height, width, data.crop_scale_min))
    return CropDraws(flips)


def resized_boxes(uniforms: np.ndarray, height: int, width: int, scale_min: float) -> np.ndarray:
    """Boxes (top, left, height, width), int64 (N, 4), from uniform numbers (N, tries, 4) in [0, 1).

    torchvision's RandomResizedCrop: a try takes an area uniform in (scale_min, 1) of the image's and a ratio
    log-uniform in (3/4, 4/3), both sides rounded; the first box that fits is placed uniformly. When none fits it is
    the largest central box with a ratio in that range.
    """
    area = height * width * (scale_min + (1 - scale_min) * uniforms[..., 0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = np.exp(low + (high - low) * uniforms[..., 1])
    widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    row, first = np.arange(len(uniforms)), fits.argmax(axis=1)
    chosen_height, chosen_width = heights[row, first], widths[row, first]
    top = np.floor(uniforms[row, first, 2] * (height - chosen_height + 1))
    left = np.floor(uniforms[row, first, 3] * (width - chosen_width + 1))
    boxes = np.stack((top, left, chosen_height, chosen_width), axis=1)
    boxes[~fits.any(axis=1)] = _central_box(height, width)
    return boxes.astype(np.int64)


def _central_box(height: int, width: int) -> tuple[int, int, int, int]:
    box_height, box_width = height, width
    if width / height < RATIO[0]:
        box_height = min(height, round(width / RATIO[0]))
    elif width / height > RATIO[1]:
        box_width = min(width, round(height * RATIO[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
