"""Moving an image's salient cells to where a mask shows them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def masked_transport(shown: Tensor, saliency: Tensor, distance_cost: float) -> Tensor:
    """For each cell of a grid the cell whose content it takes, (B, h * w) int64, in reading order.

    shown: (B, h, w) bool, which cells the mask shows. saliency: (B, h, w) float32, of the image. Moving cell i to cell
    j costs distance_cost * (squared distance of the cells / (longer side - 1)^2) - saliency of i where j is shown.
    Every cell goes for its cheapest place; of several that want one place the cheapest wins, and for the others that
    place becomes dearer by 1; as many rounds as the longer side has cells (Kim et al., Puzzle Mix, ICML 2020, masked
    transport, and its code). A shown place always has a winner, since the cell that is there wants it too. Places that
    nobody won are not shown; they keep their own cell.
    """
    batch, height, width = shown.shape
    count = height * width
    row = torch.arange(height, device=shown.device).repeat_interleave(width)
    column = torch.arange(width, device=shown.device).repeat(height)
    squared = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    distance = squared.float() / max(height - 1, width - 1, 1) ** 2
    cost = distance_cost * distance - saliency.reshape(batch, count, 1) * shown.reshape(batch, 1, count)
    place = torch.arange(count, device=shown.device).expand(batch, count)
    source = place
    for _ in range(max(height, width)):
        price, wanted = cost.min(2)
        least = torch.full_like(price, torch.inf).scatter_reduce(1, wanted, price, "amin")
        cheapest = torch.where(price == least.gather(1, wanted), place, count)
        winner = torch.full_like(place, count).scatter_reduce(1, wanted, cheapest, "amin")
        won = winner.gather(1, wanted) == place
        source = torch.where(winner < count, winner, place)
        cost = cost.scatter(2, wanted[:, :, None], (price + (~won).float())[:, :, None])
    return source


def move_cells(images: Tensor, source: Tensor, height: int, width: int) -> Tensor:
    """Images (B, C, H, W) in which each of height x width cells is replaced by its source's.

    source: (B, height * width) int64, cells in reading order. H and W are multiples of height and width.
    """
    cell = (images.shape[2] // height, images.shape[3] // width)
    patches = functional.unfold(images, cell, stride=cell)
    moved = patches.gather(2, source[:, None].expand(-1, patches.shape[1], -1))
    return functional.fold(moved, images.shape[2:], cell, stride=cell)
