"""Batched crops, flips and resizing of images on any device. No randomness: the draws come from bench.data.draws."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

PaddingMode = Literal["reflect", "zeros"]


def shift_and_flip(
    images: Tensor, index: Tensor, flips: Tensor, shifts: Tensor | None = None, padding: int = 0,
    mode: PaddingMode = "reflect",
) -> Tensor:  # fmt: skip
    """Take images by index, pad them, cut the original size out of them, mirror some left to right.

    images (N, C, H, W) of any dtype; index (B,) int64 into it; flips (B,) bool; shifts (B, 2) int64 in
    0 .. 2 * padding, the first row and column of the cut in the padded image (None: no padding and no cut).
    "reflect" mirrors without repeating the border and needs padding < H, W; "zeros" pads with black. Returns a new
    (B, C, H, W). Nothing is ever padded: rows and then columns are gathered.
    """
    count, channels, height, width = len(index), *images.shape[1:]
    rows = torch.arange(height, device=images.device).expand(count, height)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns)
    if shifts is not None:
        rows = rows + (shifts[:, :1] - padding)
        columns = columns + (shifts[:, 1:] - padding)
    source_rows, source_columns = _inside(rows, height, mode), _inside(columns, width, mode)
    planes = index[:, None] * channels + torch.arange(channels, device=images.device)
    flat = (planes[:, :, None] * height + source_rows[:, None, :]).flatten()
    taken = images.reshape(-1, width).index_select(0, flat).view(count, channels * height, width)
    cut = taken.gather(2, source_columns[:, None, :].expand(-1, channels * height, -1))
    cut = cut.view(count, channels, height, width)
    if mode == "zeros" and shifts is not None:
        inside = (rows == source_rows)[:, None, :, None] & (columns == source_columns)[:, None, None, :]
        cut = cut * inside
    return cut


def _inside(positions: Tensor, length: int, mode: PaddingMode) -> Tensor:
    if mode == "zeros":
        return positions.clamp(0, length - 1)
    mirrored = positions.abs()
    return length - 1 - (length - 1 - mirrored).abs()


def crop_and_resize(images: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
    """Cut a box out of each image, enlarge it bilinearly to the image's size, mirror some left to right.

    images (B, C, H, W); boxes (B, 4) int64: top, left, height, width, inside the image; flips (B,) bool. The same as
    torchvision's resized_crop with bilinear interpolation: pixels outside the box have no say. A box is never larger
    than the image, so there is nothing to antialias. uint8 images are rounded to uint8.
    """
    top, left, box_height, box_width = boxes.to(torch.float32)[:, :, None].unbind(1)
    height, width = images.shape[2:]
    y = _source_positions(height, top, box_height, images.device)
    x = _source_positions(width, left, box_width, images.device)
    x = torch.where(flips[:, None], x.flip(1), x)
    grid = torch.stack(
        ((2 * x / max(width - 1, 1) - 1)[:, None, :].expand(-1, height, -1),
         (2 * y / max(height - 1, 1) - 1)[:, :, None].expand(-1, -1, width)), dim=3,
    )  # fmt: skip
    sampled = F.grid_sample(images.to(torch.float32), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return _as_before(sampled, images)


def _source_positions(length: int, start: Tensor, box: Tensor, device: torch.device) -> Tensor:
    inside = (torch.arange(length, device=device, dtype=torch.float32) + 0.5) * (box / length) - 0.5
    return start + torch.minimum(inside.clamp_min(0), box - 1)


def resize(images: Tensor, size: int) -> Tensor:
    """(B, C, H, W) to (B, C, size, size), bilinear (corners not aligned, antialiased when it gets smaller).

    Images of that size are returned as they are. uint8 images are rounded to uint8, halves to even.
    """
    if images.shape[2:] == (size, size):
        return images
    resized = F.interpolate(
        images.to(torch.float32), (size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return _as_before(resized, images)


def _as_before(values: Tensor, images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return values.round_().clamp_(0, 255).to(torch.uint8)
    return values
