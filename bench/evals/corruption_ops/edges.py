"""Canny edges, chamfer distances and histogram equalisation of many small grey images at once.

Whole-number arithmetic with OpenCV's conventions (thresholds, ties, borders), so that spatter equals the published one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TANGENT_BITS = 15
TANGENT = round((2**0.5 - 1) * 2**TANGENT_BITS)
"""tan(22.5 degrees), fixed point."""
DIRECT, DIAGONAL, KNIGHT = 65536, 91750, 143976
"""Moves of the 5x5 chamfer mask: 1, 1.4 and 2.1969 in 1/65536 pixel (Borgefors 1986)."""


def canny(levels: Tensor, low: int, high: int) -> Tensor:
    """Edges (B, H, W) bool of grey levels (B, H, W): 3x3 Sobel, |dx| + |dy|, thinning, hysteresis (Canny 1986)."""
    padded = F.pad(levels.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0].to(torch.int32)
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    dx = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    dy = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    strength = dx.abs() + dy.abs()
    around = F.pad(strength, (1, 1, 1, 1))

    def beside(row: int, column: int) -> Tensor:
        return around[:, 1 + row : around.shape[1] - 1 + row, 1 + column : around.shape[2] - 1 + column]

    steep = dy.abs() << TANGENT_BITS
    flat = dx.abs() * TANGENT
    horizontal = (strength > beside(0, -1)) & (strength >= beside(0, 1))
    vertical = (strength > beside(-1, 0)) & (strength >= beside(1, 0))
    falling = (strength > beside(-1, -1)) & (strength > beside(1, 1))
    rising = (strength > beside(-1, 1)) & (strength > beside(1, -1))
    diagonal = torch.where((dx ^ dy) < 0, rising, falling)
    upright = steep > flat + (dx.abs() << (TANGENT_BITS + 1))
    thin = torch.where(steep < flat, horizontal, torch.where(upright, vertical, diagonal)) & (strength > low)
    return _connected(thin & (strength > high), thin)


def _connected(seeds: Tensor, allowed: Tensor) -> Tensor:
    """All of `allowed` that hangs together with a seed, over eight neighbours."""
    reached = seeds
    while True:
        grown = (F.max_pool2d(reached[:, None].float(), 3, 1, 1)[:, 0] > 0) & allowed
        if torch.equal(grown, reached):
            return reached
        reached = grown


def chamfer_distance(edges: Tensor, limit: int) -> Tensor:
    """Distance of each pixel to the nearest edge (B, H, W) float32 in pixels, at most `limit`, by the 5x5 mask.

    Every round extends all shortest paths by one move. Whole numbers below 2**24 are exact in float32.
    """
    far = float(limit << 16)
    distance = torch.where(edges, 0.0, far)
    while True:
        around = F.pad(distance, (2, 2, 2, 2), value=far)
        near, wide = (
            torch.minimum(around[..., 1:-3], around[..., 3:-1]),
            torch.minimum(around[..., :-4], around[..., 4:]),
        )
        direct = torch.minimum(near[:, 2:-2], torch.minimum(around[:, 1:-3, 2:-2], around[:, 3:-1, 2:-2])) + DIRECT
        diagonal = torch.minimum(near[:, 1:-3], near[:, 3:-1]) + DIAGONAL
        knight = torch.minimum(near[:, :-4], near[:, 4:])
        knight = torch.minimum(knight, torch.minimum(wide[:, 1:-3], wide[:, 3:-1])) + KNIGHT
        nearer = torch.minimum(torch.minimum(distance, direct), torch.minimum(diagonal, knight))
        if torch.equal(nearer, distance):
            return distance / 65536
        distance = nearer


def equalise(levels: Tensor) -> Tensor:
    """Histogram equalisation of grey levels (B, H, W) int64 in [0, 255]; a flat image stays as it is."""
    flat = levels.flatten(1)
    counts = torch.zeros(len(flat), 256, dtype=torch.int64, device=levels.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    lowest = flat.amin(dim=1, keepdim=True)
    first = counts.gather(1, lowest)
    rest = flat.shape[1] - first
    table = ((counts.cumsum(dim=1) - first).float() * (255 / rest.float())).round().clamp(0, 255).to(torch.int64)
    return torch.where(rest > 0, table.gather(1, flat), flat).view_as(levels)
