"""Grids of square cells of which some keep the image and the others take its partner."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from methods.ops.keys import Key


def draw_cells(key: Key, lam: float, size: int, rows: int, columns: int) -> Tensor:
    """Which cells keep the image: (size, rows, columns) bool, ceil(lam * rows * columns) of them in each image, at
    places that are uniform and independent from image to image (Zhao et al. 2023, arXiv 2304.12043, MaskMix)."""
    kept = math.ceil(lam * rows * columns)
    order = key.fold("cells").generator().random((size, rows * columns)).argsort(1)
    mask = np.empty((size, rows * columns), dtype=bool)
    np.put_along_axis(mask, order, np.arange(rows * columns) < kept, 1)
    return torch.from_numpy(mask.reshape(size, rows, columns))


def enlarge(mask: Tensor, side: int, height: int, width: int) -> Tensor:
    """Cells (..., rows, columns) as pixels (..., height, width): each is side x side, and those at the bottom and right
    are cut off. rows * side must be at least height, and so for the columns."""
    return mask.repeat_interleave(side, -2).repeat_interleave(side, -1)[..., :height, :width]
