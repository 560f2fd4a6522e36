"""One box an image: drawing, masks, and the area left untouched. `boxes` has the same for one box a batch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.ops.keys import Key


def draw_boxes(key: Key, lam: Tensor, height: int, width: int) -> Tensor:
    """A box of CutMix for each mixing weight: lam (B,) to (B, 4) int64 top, bottom, left, right, ends excluded.

    Each box has sides sqrt(1 - lam) times height and width and a centre uniform over the image, is clipped at the
    border, and has its edges rounded to the nearest pixel boundary, as the single box of `boxes.draw_box`.
    """
    side = np.sqrt(1.0 - lam.double().numpy())
    centre = key.fold("boxes").generator().random((len(lam), 2))
    edges: list[NDArray[np.int64]] = []
    for axis, size in enumerate((height, width)):
        for sign in (-1, 1):
            edge = size * (centre[:, axis] + sign * side / 2)
            edges.append(np.clip(np.floor(edge + 0.5), 0, size).astype(np.int64))
    return torch.from_numpy(np.stack(edges, axis=1))


def box_masks(boxes: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, height, width) bool, true inside each of the boxes (B, 4)."""
    top, bottom, left, right = boxes[:, :, None, None, None].unbind(1)
    rows = torch.arange(height, device=boxes.device)[:, None]
    columns = torch.arange(width, device=boxes.device)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def shares_outside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Share of the area that each of the boxes (B, 4) leaves untouched, (B,) float32 in [0, 1]."""
    top, bottom, left, right = boxes.unbind(1)
    return 1 - ((bottom - top) * (right - left)).float() / (height * width)
