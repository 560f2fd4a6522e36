"""Square attack (Andriushchenko et al. 2020): random search that sees the logits only, no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.evals.attack_ops.ball import Ball
from bench.evals.draws import ImageDraws

INITIAL_SHARE = 0.8
"""Share of the image's area that the first squares cover; 0.8 as in AutoAttack (Croce and Hein 2020)."""
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""After these shares of the queries the squares' area is halved: 10, 50, 200, ... of 10,000 in the paper."""
TILES = 5
"""The Euclidean attack starts from a grid of 5 x 5 tiles."""


def square_attack(
    model: Callable[[Tensor], Tensor], pixels: Tensor, labels: Tensor, ball: Ball, queries: int, draws: ImageDraws
) -> Tensor:
    """The images of lowest margin that the search found, (B, C, H, W), in the ball and checked.

    model: pixels in [0, 1] to logits (B, K). labels (B,) int64. queries: passes spent on an image, the one for the
    start included; an image is left alone as soon as its margin (label's logit minus the largest other) is below 0,
    and one that is wrong from the beginning comes back as it was. All draws are each image's own, so neither the batch
    nor what happens to other images changes anything.
    """
    begin, propose = (_stripes, _linf_square) if ball.norm == "linf" else (_tiles, _l2_square)
    with torch.no_grad():
        attacked = pixels.clone()
        lowest = torch.full((len(labels),), torch.inf, device=pixels.device)
        active = (margin(model(pixels), labels) >= 0).nonzero()[:, 0]
        for query in range(queries):
            if len(active) == 0:
                break
            own = ImageDraws(draws.key.fold(query), draws.index[active])
            original = pixels[active]
            if query == 0:
                change = begin(original.shape, ball.eps, own)
            else:
                area = square_area((query - 1) / (queries - 1)) * original.shape[2] * original.shape[3]
                change = propose(attacked[active] - original, ball.eps, area, own)
            candidate = ball.project(original, original + change)
            margins = margin(model(candidate), labels[active])
            better = margins < lowest[active]
            lowest[active[better]] = margins[better]
            attacked[active[better]] = candidate[better]
            active = active[lowest[active] >= 0]
        ball.check(pixels, attacked)
    return attacked


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest of the others, (B,) float32: below 0 where the image is wrongly classified.

    logits (B, K) with K >= 2; labels (B,) int64.
    """
    own = F.one_hot(labels, logits.shape[1]).bool()
    return (logits[own] - logits.masked_fill(own, -torch.inf).amax(dim=1)).float()


def square_area(progress: float) -> float:
    """Share of the image's area that a square covers after `progress` in [0, 1) of the queries."""
    return INITIAL_SHARE / 2 ** sum(progress > point for point in HALVINGS)


def pyramid(height: int, width: int) -> Tensor:
    """The bump eta of equation (2), (height, width): largest in the middle, falling in square rings, not normalised.

    A position in ring d around the middle has the sum of 1 / (m + 1)^2 over m from d to half the longer side.
    """
    half = max(height, width) // 2
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    terms = 1 / torch.arange(1, half + 2, dtype=torch.float64) ** 2
    rings = terms.flip(0).cumsum(0).flip(0)
    return rings[torch.maximum(rows[:, None], columns)]


def two_bumps(side: int) -> Tensor:
    """A bump in the upper half and its negative in the lower, (side, side) float32 of Euclidean length 1."""
    upper = side // 2
    halves = torch.cat((pyramid(upper, side), -pyramid(side - upper, side)))
    return (halves / halves.norm()).float()


def _signs(draws: ImageDraws, name: str, *shape: int) -> Tensor:
    return draws.integers(name, 2, *shape).float() * 2 - 1


def _window(draws: ImageDraws, name: str, side: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each row (B, H) and column (B, W) lies relative to a square placed uniformly inside the image."""
    top = draws.integers(f"{name} top", height - side + 1, 1)
    left = draws.integers(f"{name} left", width - side + 1, 1)
    return torch.arange(height, device=top.device) - top, torch.arange(width, device=top.device) - left


def _inside(rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """Mask (B, 1, H, W) of the square."""
    within_rows = (rows >= 0) & (rows < side)
    within_columns = (columns >= 0) & (columns < side)
    return (within_rows[:, :, None] & within_columns[:, None, :])[:, None]


def _stripes(shape: torch.Size, eps: float, draws: ImageDraws) -> Tensor:
    size, channels, height, width = shape
    return (eps * _signs(draws, "stripes", channels, 1, width)).expand(size, channels, height, width)


def _linf_square(change: Tensor, eps: float, area: float, draws: ImageDraws) -> Tensor:
    """Algorithm 2: a square of one colour, every channel at an end of the ball once the sum is projected."""
    height, width = change.shape[2:]
    side = min(max(round(math.sqrt(area)), 1), height, width)
    inside = _inside(*_window(draws, "square", side, height, width), side)
    return change + 2 * eps * _signs(draws, "colour", change.shape[1], 1, 1) * inside


def _tiles(shape: torch.Size, eps: float, draws: ImageDraws) -> Tensor:
    """Two bumps of random sign and direction on each tile of a grid, of length eps in all."""
    size, channels, height, width = shape
    side = max(min(height, width) // TILES, 1)
    down, across = min(TILES, height // side), min(TILES, width // side)
    bumps = two_bumps(side).to(draws.index.device)
    upright = draws.integers("direction", 2, 1, down, across, 1, 1).bool()
    tiles = torch.where(upright, bumps, bumps.T) * _signs(draws, "tiles", channels, down, across, 1, 1)
    grid = tiles.transpose(3, 4).reshape(size, channels, down * side, across * side)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    bottom, right = height - down * side - top, width - across * side - left
    return _of_length(F.pad(grid, (left, right, top, bottom)), eps)


def _l2_square(change: Tensor, eps: float, area: float, draws: ImageDraws) -> Tensor:
    """Algorithm 3: empty one square, and give its length and what was unused to bumps added in another."""
    channels, height, width = change.shape[1:]
    side = min(max(round(math.sqrt(area)), 3) // 2 * 2 + 1, height, width)
    rows, columns = _window(draws, "filled", side, height, width)
    filled = _inside(rows, columns, side)
    emptied = _inside(*_window(draws, "emptied", side, height, width), side)
    bumps = two_bumps(side).to(change.device)
    placed = bumps[rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]]
    turned = bumps.T[rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]]
    upright = draws.integers("direction", 2, 1, 1, 1).bool()
    pattern = torch.where(upright, placed[:, None], turned[:, None]) * _signs(draws, "sign", channels, 1, 1)
    unused = (eps**2 - change.square().sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0)
    held = (change * (filled | emptied)).square().sum(dim=(2, 3), keepdim=True)
    available = (held + unused / channels).sqrt()
    old = change * filled
    new = _of_channel_length((pattern + _of_channel_length(old, 1.0)) * filled, available)
    return _of_length(torch.where(filled, new, change * ~emptied), eps)


def _of_channel_length(change: Tensor, length: Tensor | float) -> Tensor:
    """Each channel scaled to a Euclidean length; a channel of zeros stays."""
    return change / change.square().sum(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-12) * length


def _of_length(change: Tensor, length: float) -> Tensor:
    """Each image's change scaled to a Euclidean length; zeros stay."""
    return change / change.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12) * length
