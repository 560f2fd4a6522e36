"""A whole image shrunk into a box, with shapes that do not depend on the box."""

from __future__ import annotations

import torch
from torch import Tensor


def shrunk_into(images: Tensor, box: Tensor) -> Tensor:
    """Each of `images` (B, C, H, W) shrunk to a box (4,) int64 top, bottom, left, right, on a canvas (B, C, H, W).

    Interpolation is bilinear between pixel centres, without smoothing before (`torch.nn.functional.interpolate` with
    align_corners=False). Outside the box the canvas repeats the border of the box. The box must not be empty.
    """
    top, bottom, left, right = box.unbind()
    rows, row_share = _between(images.shape[2], top, bottom)
    columns, column_share = _between(images.shape[3], left, right)
    row_share = row_share[:, None]
    tall = images[:, :, rows[0]] * (1 - row_share) + images[:, :, rows[1]] * row_share
    return tall[..., columns[0]] * (1 - column_share) + tall[..., columns[1]] * column_share


def shrunk_into_each(images: Tensor, boxes: Tensor) -> Tensor:
    """As `shrunk_into`, with a box of its own for each image, boxes (B, 4)."""
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows, row_share = _between(images.shape[2], top, bottom)
    columns, column_share = _between(images.shape[3], left, right)
    rows, row_share = rows[:, :, None, :, None], row_share[:, None, :, None]
    columns, column_share = columns[:, :, None, None, :], column_share[:, None, None, :]
    tall = images.take_along_dim(rows[0], 2) * (1 - row_share) + images.take_along_dim(rows[1], 2) * row_share
    return tall.take_along_dim(columns[0], 3) * (1 - column_share) + tall.take_along_dim(columns[1], 3) * column_share


def _between(size: int, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The two source positions of every canvas position, (2, ..., size) int64, and the weight of the second, (...,
    size); start and end are () or (B, 1)."""
    places = torch.arange(size, device=start.device) + 0.5
    source = ((places - start) * (size / (end - start)) - 0.5).clamp(0, size - 1)
    before = source.floor()
    return torch.stack([before, (before + 1).clamp(max=size - 1)]).long(), source - before


def nearest_into(images: Tensor, box: Tensor) -> Tensor:
    """As `shrunk_into`, but each pixel of the box is one pixel of the image: row floor(r * H / h) for row r of h rows.

    An empty box gives a canvas of no meaning.
    """
    top, bottom, left, right = box.unbind()
    rows = _nearest(images.shape[2], top, bottom)
    columns = _nearest(images.shape[3], left, right)
    return images[:, :, rows][..., columns]


def nearest_into_each(images: Tensor, boxes: Tensor) -> Tensor:
    """As `nearest_into`, with a box of its own for each image, boxes (B, 4)."""
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows = _nearest(images.shape[2], top, bottom)[:, None, :, None]
    columns = _nearest(images.shape[3], left, right)[:, None, None, :]
    return images.take_along_dim(rows, 2).take_along_dim(columns, 3)


def _nearest(size: int, start: Tensor, end: Tensor) -> Tensor:
    places = torch.arange(size, device=start.device) - start
    return (places * size // (end - start).clamp(min=1)).clamp(0, size - 1)
