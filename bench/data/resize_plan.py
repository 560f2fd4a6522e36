"""A plan to cut boxes out of images of any size and resize them to squares, all images of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data.axis_taps import axis_taps


class Cut(NamedTuple):
    """What of one stored image becomes a square. Lengths in pixels.

    offset: place of the box's first pixel in the flat list of all images' pixels. stride: from a pixel to the one below
    it. height, width: of the box. It is resized to target_height x target_width; of that the square from line `top` and
    column `left` on is kept, mirrored left to right where `flip` is set. transposed: the image is stored with rows and
    columns exchanged (offset and stride then speak of what is stored, the rest of the picture).
    """

    offset: int
    stride: int
    height: int
    width: int
    target_height: int
    target_width: int
    top: int
    left: int
    flip: bool
    transposed: bool


@dataclass(frozen=True)
class ResizePlan:
    """How B squares of `size` are read from a flat list of pixels; tensors on one device.

    rows: (T,) int64, the first pixel of every row in use. row_images: (T,) int64, the image it belongs to. bounds: the
    B + 1 numbers of the images' first rows, the last is T. columns: (B, size) int64, first tap of each column, in
    pixels from a row's first. lines: (B, size) int64, first tap of each line, a number of a row. column_weights and
    line_weights: (K, B, size) int32, as in bench.data.axis_taps. transposed: (B,) bool.
    """

    rows: Tensor
    row_images: Tensor
    bounds: tuple[int, ...]
    columns: Tensor
    column_weights: Tensor
    lines: Tensor
    line_weights: Tensor
    transposed: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> ResizePlan:
        """The plan with `move` applied to its tensors."""
        return ResizePlan(
            move(self.rows), move(self.row_images), self.bounds, move(self.columns), move(self.column_weights),
            move(self.lines), move(self.line_weights), move(self.transposed),
        )  # fmt: skip


def resize_plan(cuts: Sequence[Cut], size: int) -> ResizePlan:
    """The plan for a batch, on the CPU. Rows are resized first, as they are stored."""
    count = len(cuts)
    offset, stride, height, width, target_height, target_width, top, left, flip, transposed = np.array(cuts).T
    taps = axis_taps(
        np.concatenate((width, height)),
        np.concatenate((target_width, target_height)),
        np.concatenate((left, top)),
        size,
    )
    first, weights = taps.first.reshape(2, count, size), taps.weights.reshape(-1, 2, count, size)
    flipped = flip.astype(bool)
    first[0, flipped] = first[0, flipped, ::-1]
    weights[:, 0, flipped] = weights[:, 0, flipped, ::-1]
    exchanged = transposed.astype(bool)
    first[:, exchanged] = first[::-1, exchanged]
    weights[:, :, exchanged] = weights[:, ::-1, exchanged]
    stored_rows = np.where(exchanged, width, height)
    bounds = np.concatenate(([0], np.cumsum(stored_rows)))
    images = np.repeat(np.arange(count), stored_rows)
    rows = offset[images] + (np.arange(bounds[-1]) - bounds[images]) * stride[images]
    return ResizePlan(
        torch.from_numpy(rows),
        torch.from_numpy(images),
        tuple(bounds.tolist()),
        torch.from_numpy(np.ascontiguousarray(first[0])),
        torch.from_numpy(np.ascontiguousarray(weights[:, 0])),
        torch.from_numpy(first[1] + bounds[:-1, None]),
        torch.from_numpy(np.ascontiguousarray(weights[:, 1])),
        torch.from_numpy(exchanged),
    )
