"""Drops of water or mud. Images uint8 (B, 3, H, W) in and out; the noise field comes in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.evals.corruption_ops.blur import smooth
from bench.evals.corruption_ops.edges import canny, chamfer_distance, equalise
from bench.evals.corruption_ops.pixels import to_bytes, to_unit

WATER = (175, 238, 238)
MUD = (63, 42, 20)
EMBOSS = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
LIMIT = 20
"""Pixels; farther from a drop's edge nothing changes any more."""


def spatter(images: Tensor, strength: tuple[float, float, float, float, float, bool], field: Tensor) -> Tensor:
    """strength: (mean, sd, sigma, threshold, intensity or sigma of the mud's edge, mud). field (B, H, W): normal.

    Liquid is where the smoothed field passes the threshold. An image without any liquid stays as it is; the published
    script divides 0 by 0 there and gives a black image.
    """
    mean, deviation, sigma, threshold, amount, mud = strength
    liquid = smooth(field.double() * deviation + mean, sigma)
    liquid.masked_fill_(liquid < threshold, 0)
    pixels = to_unit(images)
    if mud:
        cover = smooth((liquid > threshold).double(), amount)[:, None]
        cover = cover.masked_fill_(cover < 0.8, 0).float()
        return to_bytes(pixels * (1 - cover) + cover * _colour(MUD, images))
    drops = water_relief((liquid * 255).to(torch.int64) % 256)
    highest = drops.amax(dim=(1, 2), keepdim=True)
    drops = torch.where(highest > 0, drops / highest * amount, 0)[:, None]
    return to_bytes(pixels + drops * _colour(WATER, images))


def water_relief(levels: Tensor) -> Tensor:
    """Embossed drops (B, H, W) float32 from the liquid's grey levels (B, H, W) int64."""
    distance = chamfer_distance(canny(levels, 50, 150), LIMIT)
    height = equalise((_box_sum(distance.double()) * (1 / 9)).float().to(torch.int64))
    around = _mirrored(height.float())
    relief = torch.zeros_like(around[:, 1:-1, 1:-1])
    for row, weights in enumerate(EMBOSS):
        for column, weight in enumerate(weights):
            relief.add_(around[:, row : row + relief.shape[1], column : column + relief.shape[2]], alpha=weight)
    return levels.float() * (_box_sum(relief.clamp_(0, 255)) / 9).round()


def _mirrored(values: Tensor) -> Tensor:
    return F.pad(values[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]


def _box_sum(values: Tensor) -> Tensor:
    padded = _mirrored(values)
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


def _colour(levels: tuple[int, int, int], images: Tensor) -> Tensor:
    return torch.tensor(levels, dtype=torch.float32, device=images.device).view(1, 3, 1, 1) / 255
