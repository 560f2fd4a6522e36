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


def affine_bilinear(images: Tensor, matrices: Tensor) -> Tensor:
    """Warp each image by its own matrix; pixels from outside are 0.

    images: (N, C, H, W) uint8. matrices: (N, 6) float64 (a, b, c, d, e, f): the output pixel (x, y) is taken from
    (a x + b y + c, d x + e y + f), in pixels, with pixel centres at half integers. Returns (N, C, H, W) uint8.
    """
    count, channels, height, width = images.shape
    x, y = _source_points(matrices, height, width)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    column, x_share = _cell(x, width)
    row, y_share = _cell(y, height)
    row_length = width + 2
    cell = ((row + 1) * row_length).add_(column).add_(1).long().flatten(1)[:, None].expand(-1, channels, -1)
    pixels = F.pad(images.double(), (1, 1, 1, 1), mode="replicate").flatten(2)

    def corner(offset: int) -> Tensor:
        return pixels[:, :, offset:].gather(2, cell)

    upper = _between(corner(0), corner(1), x_share)
    lower = _between(corner(row_length), corner(row_length + 1), x_share)
    values = _between(upper, lower, y_share).to(torch.uint8)
    return values.view(count, channels, height, width).mul_(inside[:, None])


def _source_points(matrices: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    columns = torch.arange(width, dtype=matrices.dtype, device=matrices.device) + 0.5
    rows = (torch.arange(height, dtype=matrices.dtype, device=matrices.device) + 0.5)[:, None]
    return (a * columns + b * rows).add_(c), (d * columns + e * rows).add_(f)


def _cell(points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Index, from -1 to size - 1, of the pixel centre before each point (N, H, W), and the share (N, 1, H * W) of the
    way to the next one. Points outside are moved to the border. Indices stay float64.
    """
    shifted = points.clamp_(0, size).sub_(0.5)
    before = shifted.floor()
    return before, shifted.sub_(before).flatten(1)[:, None]


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
