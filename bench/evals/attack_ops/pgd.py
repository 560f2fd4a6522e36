"""Projected gradient ascent with a fixed step (Madry et al. 2018), and its one-step case, FGSM."""

from __future__ import annotations

from torch import Tensor

from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import ascent, cross_entropy
from bench.evals.attack_ops.subset import PixelModel


def pgd(
    model: PixelModel, pixels: Tensor, labels: Tensor, ball: Ball, step: float, steps: int, start: Tensor
) -> Tensor:
    """The last of `steps` steps up the cross entropy, each of length `step` and projected; `start` in the ball.

    pixels and start (B, C, H, W) in [0, 1], labels (B,). step is in units of pixels in [0, 1], like ball.eps.
    """
    attacked = start
    for _ in range(steps):
        gradient = ascent(model, attacked, cross_entropy, labels, labels).gradient
        attacked = ball.project(pixels, attacked + step * ball.direction(gradient))
    return attacked


def fgsm(model: PixelModel, pixels: Tensor, labels: Tensor, ball: Ball) -> Tensor:
    """One step of length eps from the image itself (Goodfellow et al. 2015; for "l2" along the gradient)."""
    return pgd(model, pixels, labels, ball, ball.eps, 1, pixels)
