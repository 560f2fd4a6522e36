"""GridMixup: a grid of holes filled from another image."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_permutation


class GridMixup(Method):
    """Train on images with a regular grid of holes that show a partner, with the labels' losses weighted by area.

    Definition: a crop box takes a share U(crop_low, 1) of the area at a uniform place. It is divided into n columns, n
    uniform in {cells_low, ..., cells_high}, of square cells of ceil(width / n) pixels. With lam ~ U(lam_low, lam_high)
    each cell has a hole at its upper left of int(sqrt(1 - lam) * cell) pixels a side, at least 1 and less than the
    cell; cells and holes end with the crop box. Holes show the partner. The label weight is the share of pixels that
    stayed. One grid and one permutation a batch.

    Defaults: lam 0.1 to 0.9, 2 to 6 columns, crop 0.5 to 1. The library recommends lam 0.4 to 0.7.

    This is the method of the public library GridMixup and of OpenMixup's "gridmix". It is not the whole of GridMix by
    Baek et al. (Pattern Recognition 2021), whose loss has a part for the labels of patches besides; that part is not
    here, because its definition could not be established.

    Differences from the library: on images that are not square the crop keeps the image's proportions, where the
    library takes a square that may not fit. It refuses more columns than half the crop's pixels; here their number is
    cut to that, which matters below 12 pixels a side. `lam_per: sample` draws one grid an image.

    Traps: the share kept is well above the mean of lam, because of the crop and because holes are rounded down: over
    10,000 draws it was 0.682 on average at 32 pixels and 0.632 at 224.
    """

    title = "GridMixup"
    paper = "Dobrynin, GridMixup, public library, after Baek et al., GridMix, Pattern Recognition 109, 2021"
    family = "input"
    venue = "public library"
    mixes = "input"
    proved = "a loop that fills hole after hole"

    def __init__(
        self,
        *,
        lam_low: Annotated[float, Ge(0), Le(1)] = 0.1,
        lam_high: Annotated[float, Ge(0), Le(1)] = 0.9,
        cells_low: Annotated[int, Ge(1)] = 2,
        cells_high: Annotated[int, Ge(1)] = 6,
        crop_low: Annotated[float, Gt(0), Le(1)] = 0.5,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        if lam_low > lam_high:
            raise ValueError(f"lam_low {lam_low} is above lam_high {lam_high}")
        if cells_low > cells_high:
            raise ValueError(f"cells_low {cells_low} is above cells_high {cells_high}")
        self.lam_low = lam_low
        self.lam_high = lam_high
        self.cells_low = cells_low
        self.cells_high = cells_high
        self.crop_low = crop_low
        self.lam_per = lam_per

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """grid: (6,) or (B, 6) int64, see `grid_mask`. permutation: (B,) int64."""
        generator = key.fold("grid").generator()
        count = shape.size if self.lam_per == "sample" else 1
        lam = generator.uniform(self.lam_low, self.lam_high, count)
        columns = generator.integers(self.cells_low, self.cells_high + 1, count)
        side = np.sqrt(generator.uniform(self.crop_low, 1, count))
        height, width = (shape.height * side).astype(np.int64), (shape.width * side).astype(np.int64)
        down, along = generator.random((count, 2)).T
        top = ((shape.height - height) * down).astype(np.int64)
        left = ((shape.width - width) * along).astype(np.int64)
        cell = np.ceil(width / np.minimum(columns, width // 2).clip(1)).astype(np.int64).clip(1)
        hole = np.minimum((cell * np.sqrt(1 - lam)).astype(np.int64).clip(1), cell - 1)
        grids = torch.from_numpy(np.stack([top, top + height, left, left + width, cell, hole], axis=1))
        grid = grids if self.lam_per == "sample" else grids[0]
        return Draws(tensors={"grid": grid, "permutation": draw_permutation(key, shape.size)})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass over the images with holes."""
        (images,) = batch.views
        permutation = draws["permutation"]
        mask = grid_mask(draws["grid"], images.shape[-2], images.shape[-1])
        logits = backbone(torch.where(mask[..., None, :, :], images[permutation], images))
        lam = 1 - mask.float().mean((-2, -1))
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})


def grid_mask(grid: Tensor, height: int, width: int) -> Tensor:
    """(..., height, width) bool, true in the holes of grids (..., 6) int64: top, bottom, left, right of the crop with
    ends excluded, the side of a cell, the side of a hole, all in pixels."""
    top, bottom, left, right, cell, hole = grid[..., None, None].unbind(-3)
    rows = torch.arange(height, device=grid.device)[:, None]
    columns = torch.arange(width, device=grid.device)
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside & ((rows - top) % cell < hole) & ((columns - left) % cell < hole)
