"""Random points of a ball, each image's fixed by its position in the split."""

from __future__ import annotations

from torch import Tensor

from bench.evals.attack_ops.ball import Ball
from bench.evals.draws import ImageDraws


def random_start(pixels: Tensor, ball: Ball, draws: ImageDraws) -> Tensor:
    """Uniform in each image's ball, then clamped to [0, 1]; (B, C, H, W) like pixels."""
    shape = pixels.shape[1:]
    if ball.norm == "linf":
        return ball.project(pixels, pixels + ball.eps * (2 * draws.uniform("start", *shape) - 1))
    # The share of a ball of D dimensions within radius r of its centre is r**D.
    radius = ball.eps * draws.uniform("radius", 1, 1, 1) ** (1 / shape.numel())
    return ball.project(pixels, pixels + radius * ball.direction(draws.normal("start", *shape)))


def random_noise(pixels: Tensor, ball: Ball, draws: ImageDraws) -> Tensor:
    """A change of length eps in a random direction, then clamped to [0, 1].

    "linf": every pixel value up or down by eps. "l2": normal noise scaled to length eps.
    """
    shape = pixels.shape[1:]
    if ball.norm == "linf":
        change = 2.0 * draws.integers("noise", 2, *shape) - 1
    else:
        change = ball.direction(draws.normal("noise", *shape))
    return ball.project(pixels, pixels + ball.eps * change)
