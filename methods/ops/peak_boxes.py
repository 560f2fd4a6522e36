"""Boxes around the peaks of maps, one for each map, on the device."""

from __future__ import annotations

import torch
from torch import Tensor


def peaks(maps: Tensor) -> Tensor:
    """Row and column (N, 2) int64 of the largest value of each map (N, H, W), the first one in reading order."""
    _, height, width = maps.shape
    flat = maps.flatten(1)
    place = torch.arange(height * width, device=maps.device)
    first = torch.where(flat == flat.amax(1, keepdim=True), place, height * width).amin(1)
    return torch.stack([first // width, first % width], 1)


def boxes_around(centres: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """(N, 4) int64 top, bottom, left, right in pixels, ends excluded, of boxes around the middles of pixels.

    centres: (N, 2) int64 row and column, or (1, 2) for all. lam: float32 in [0, 1], () for all or (N, 1). Sides are
    sqrt(1 - lam) times height and width; each edge is rounded to the nearest pixel boundary and what sticks out is
    clipped.
    """
    side = (1 - lam).clamp(min=0).sqrt()
    edges: list[Tensor] = []
    for middle, size in zip((centres + 0.5).split(1, dim=1), (height, width), strict=True):
        half = side * size / 2
        edges += [torch.floor(edge + 0.5).long().clamp(0, size) for edge in (middle - half, middle + half)]
    return torch.cat(edges, 1)


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """(N, height, width) bool, true inside each of the boxes (N, 4)."""
    top, bottom, left, right = boxes[:, :, None, None].unbind(1)
    rows = torch.arange(height, device=boxes.device)[:, None]
    columns = torch.arange(width, device=boxes.device)[None, :]
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
