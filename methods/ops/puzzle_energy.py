"""The energy that PuzzleMix's mask minimises: saliency that is lost, edges that are torn, and a prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NEAREST = 1e-4
"""How near to 0 or 1 lam may come in the prior, which stays finite and convex in the label by that."""
REFERENCE = 16
"""Grid side at which the smoothness weight beta is given."""


class Energy(NamedTuple):
    """What `label_grid` takes, for labels 0 (the own image alone) to L - 1 (the partner alone).

    unary: (B, b, b, L). down: (B, b - 1, b). right: (B, b, b - 1). All float32.
    """

    unary: Tensor
    down: Tensor
    right: Tensor


def block_saliency(saliency: Tensor, rows: int, columns: int) -> Tensor:
    """Mean saliency (B, rows, columns) of the blocks of maps (B, H, W), each map divided by its sum.

    H and W are multiples of rows and columns. A map of zeros counts every block alike.
    """
    pooled = functional.avg_pool2d(saliency[:, None], (saliency.shape[1] // rows, saliency.shape[2] // columns))[:, 0]
    total = pooled.sum((1, 2), keepdim=True)
    return torch.where(total > 0, pooled / total, 1 / (rows * columns))


def puzzle_energy(
    own: Tensor,
    partner: Tensor,
    pixels: Tensor,
    partner_pixels: Tensor,
    lam: Tensor,
    *,
    labels: int,
    beta: float,
    gamma: float,
    eta: float,
    neighbourhood: int,
) -> Energy:
    """The energy of a batch's masks (Kim et al., Puzzle Mix, ICML 2020, in the form of its code).

    own, partner: (B, b, b) float32, block saliency of the images and their partners. pixels, partner_pixels:
    (B, C, H, W) in [0, 1]. lam: () float32. A cell of mask value z = 1 - label / (L - 1) costs z * the partner's
    saliency + (1 - z) * the own one - eta / b^2 * log of the label's probability under Binomial(L - 1, 1 - lam).
    Neighbours with mask values z, z' cost beta / (16 b) * (z - z')^2, and the differences in pixels across their border
    by which image each of the two shows, times beta * gamma / (16 b): own-own for z = z' = 1, and so on; in between
    these four are interpolated as z + z' and (z - z')^2. Pixels are averaged over `neighbourhood` x `neighbourhood`
    first (or the largest smaller square that divides a block).
    """
    side = own.shape[1]
    beta = beta / side / REFERENCE
    own_torn, partner_torn, down, right = _torn(pixels, partner_pixels, side, neighbourhood, beta * gamma)
    cost_own, cost_partner = partner + own_torn, own + partner_torn
    share = torch.arange(labels, device=own.device) / (labels - 1)
    prior = eta / side**2 * _surprise(lam, labels)
    unary = (1 - share) * cost_own[..., None] + share * cost_partner[..., None] + prior
    return Energy(unary, down + beta, right + beta)


def _surprise(lam: Tensor, labels: int) -> Tensor:
    """- log probability (labels,) of each label under Binomial(labels - 1, 1 - lam)."""
    lam = lam.clamp(NEAREST, 1 - NEAREST)
    if labels == 2:
        likely = torch.stack([lam, 1 - lam])
    else:
        likely = torch.stack([lam**2, 2 * lam * (1 - lam), (1 - lam) ** 2])
    return -likely.log()


def _torn(first: Tensor, second: Tensor, side: int, neighbourhood: int, weight: float) -> tuple[Tensor, ...]:
    """Unary cost of the first and of the second image (B, side, side), and pairwise costs down and right."""
    block = (first.shape[2] // side, first.shape[3] // side)
    cell = max(size for size in range(1, neighbourhood + 1) if block[0] % size == 0 and block[1] % size == 0)
    pooled = [functional.avg_pool2d(images, cell) for images in (first, second)]
    every = (block[0] // cell, block[1] // cell)
    costs = [torch.zeros(len(first), side, side, device=first.device) for _ in range(2)]
    pairwise: list[Tensor] = []
    for axis in (1, 2):
        border = [[weight * _border(one, other, axis, every) for other in pooled] for one in pooled]
        before, after = ((slice(None), *_part(axis, part)) for part in (slice(None, -1), slice(1, None)))
        for image in (0, 1):
            other = 1 - image
            costs[image][before] += (border[image][image] + border[image][other]) / 2
            costs[image][after] += (border[image][image] + border[other][image]) / 2
        pairwise.append((border[0][1] + border[1][0] - border[0][0] - border[1][1]) / 2)
    return costs[0], costs[1], pairwise[0], pairwise[1]


def _part(axis: int, part: slice) -> tuple[slice, slice]:
    return (part, slice(None)) if axis == 1 else (slice(None), part)


def _border(first: Tensor, second: Tensor, axis: int, every: tuple[int, int]) -> Tensor:
    """Mean difference across the borders between blocks, `first` before and `second` behind: (B, side - 1, side) along
    axis 1, (B, side, side - 1) along axis 2."""
    if axis == 2:
        return _border(first.mT, second.mT, 1, (every[1], every[0])).mT
    step, width = every
    difference = (first[:, :, step - 1 : -1 : step] - second[:, :, step::step]).abs().mean(1)
    return functional.avg_pool2d(difference[:, None], (1, width))[:, 0]
