"""Affine warps of a batch of uint8 images, bit for bit as PIL's `Image.transform` with bilinear resampling.

PIL maps the centre of each output pixel into the input in float64, leaves the pixel black when that point lies outside,
repeats the border pixels for the interpolation, and truncates the interpolated value.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MAX_DEGREES = 180


def affine_bilinear(images: Tensor, matrices: Tensor, columns: bool = True, rows: bool = True) -> Tensor:
    """Warp each image by its own matrix; pixels from outside are 0.

    images: (N, C, H, W) uint8. matrices: (N, 6) float64 (a, b, c, d, e, f): the output pixel (x, y) is taken from
    (a x + b y + c, d x + e y + f), in pixels, with pixel centres at half integers. columns False promises that all
    points have the x of a pixel centre, rows False the same of y; what would be interpolated there is then left out.
    Returns (N, C, H, W) uint8.
    """
    count, channels, height, width = images.shape
    x, y = _source_points(matrices, height, width)
    column, x_share, inside = _cell(x, width)
    row, y_share, inside_rows = _cell(y, height)
    row_length = width + 2
    cell = torch.add(column, row, alpha=row_length).add_(row_length + 1).long()
    cell = cell.flatten(1)[:, None].expand(-1, channels, -1)
    pixels = F.pad(images.double(), (1, 1, 1, 1), mode="replicate").flatten(2)

    def along_row(offset: int) -> Tensor:
        first = pixels[:, :, offset:].gather(2, cell)
        return _between(first, pixels[:, :, offset + 1 :].gather(2, cell), x_share) if columns else first

    values = along_row(0)
    if rows:
        values = _between(values, along_row(row_length), y_share)
    shown = inside.logical_and_(inside_rows).view(torch.uint8)[:, None]
    return values.to(torch.uint8).view(count, channels, height, width).mul_(shown)


def shift(images: Tensor, matrices: Tensor) -> Tensor:
    """`affine_bilinear` for matrices (1, 0, c, 0, 1, f) with whole c and f, where there is nothing to interpolate."""
    count, _, height, width = images.shape
    right, down = matrices[:, 2:3].long(), matrices[:, 5:6].long()
    columns = torch.arange(width, device=images.device) + right
    rows = torch.arange(height, device=images.device) + down
    column, row = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
    cell = (row[:, :, None] * width + column[:, None]).view(count, 1, -1)
    shown = ((column == columns)[:, None] & (row == rows)[:, :, None]).view(torch.uint8)[:, None]
    return images.flatten(2).gather(2, cell.expand(-1, images.shape[1], -1)).view(images.shape).mul_(shown)


def _source_points(matrices: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    columns = torch.arange(width, dtype=matrices.dtype, device=matrices.device) + 0.5
    rows = (torch.arange(height, dtype=matrices.dtype, device=matrices.device) + 0.5)[:, None]
    return (a * columns + b * rows).add_(c), (d * columns + e * rows).add_(f)


def _cell(points: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (N, H, W) along one axis: the index, from -1 to size - 1, of the pixel centre before each, still in
    float64; the share of the way to the next one (N, 1, H * W); whether they lie inside. Those outside are moved in.
    """
    moved = points.clamp(0, math.nextafter(size, 0))
    inside = moved == points
    before = moved.sub_(0.5).floor()
    return before, moved.sub_(before).flatten(1)[:, None], inside


def _between(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    # In this order and without a fused multiply-add, so that truncation meets the same values as in PIL.
    return second.sub_(first).mul_(share).add_(first)


def rotation_matrices(degrees: NDArray[np.int64], height: int, width: int) -> NDArray[np.float64]:
    """(N, 6) matrices of PIL's `rotate` about the centre, for whole degrees in [-180, 180], counter-clockwise."""
    cosine, sine = _ROTATIONS[degrees + MAX_DEGREES].T
    x, y = width / 2, height / 2
    columns = [cosine, sine, cosine * -x + sine * -y + x, -sine, cosine, -sine * -x + cosine * -y + y]
    return np.stack(columns, axis=1)


def _rotation(degrees: int) -> tuple[float, float]:
    angle = -math.radians(degrees % 360.0)
    return round(math.cos(angle), 15), round(math.sin(angle), 15)


_ROTATIONS = np.array([_rotation(degrees) for degrees in range(-MAX_DEGREES, MAX_DEGREES + 1)])
