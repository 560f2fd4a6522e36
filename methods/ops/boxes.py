"""Axis-aligned boxes of CutMix: drawing, masks, pasting, and the area that is really pasted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from methods.ops.keys import Key

NO_BOX = (0, 0, 0, 0)


def draw_box(key: Key, lam: float, height: int, width: int) -> Tensor:
    """The box of CutMix for one mixing weight: (4,) int64 top, bottom, left, right in pixels, ends excluded.

    Sides are sqrt(1 - lam) times height and width, the centre is uniform over the image (a real number, not a pixel),
    and what sticks out is clipped (Yun et al. 2019, arXiv 1905.04899, equation 2). A pixel is in the box when its
    centre is: each edge is rounded to the nearest pixel boundary, so that the expected area is that of the real box.
    """
    side = float(np.sqrt(1.0 - lam))
    centre = key.fold("box").generator().random(2)
    edges: list[int] = []
    for size, middle in zip((height, width), centre, strict=True):
        low, high = size * (middle - side / 2), size * (middle + side / 2)
        edges += [int(np.clip(np.floor(edge + 0.5), 0, size)) for edge in (low, high)]
    return torch.tensor(edges)


def box_mask(box: Tensor, height: int, width: int) -> Tensor:
    """(height, width) bool, true inside the box (4,); shapes do not depend on the box, so it compiles to one graph."""
    top, bottom, left, right = box.unbind()
    rows = torch.arange(height, device=box.device)[:, None]
    columns = torch.arange(width, device=box.device)[None, :]
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def share_outside(box: Tensor, height: int, width: int) -> Tensor:
    """Share of the image's area that the box (4,) leaves untouched, () float32 in [0, 1]: the label weight."""
    top, bottom, left, right = box.unbind()
    return 1 - ((bottom - top) * (right - left)).float() / (height * width)


def paste(images: Tensor, partners: Tensor, box: Tensor) -> Tensor:
    """`images` (B, C, H, W) with the box (4,) taken from `partners`, as a new tensor."""
    return torch.where(box_mask(box, images.shape[-2], images.shape[-1]), partners, images)
