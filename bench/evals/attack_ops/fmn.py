"""Fast minimum-norm attack (Pintor et al. 2021): how small a change of an image fools the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.evals.attack_ops.square import margin

FIRST_STEP = 1.0
"""Euclidean length of the first gradient step, alpha_0; the last is a hundredth of it, with a cosine between."""
FIRST_GROWTH, LAST_GROWTH = 0.05, 0.001
"""By which share the ball shrinks or grows each step, gamma, with a cosine between."""
OVERSHOOT = 0.02
"""By which share the estimated distance of the boundary is exceeded, as in DeepFool (Moosavi-Dezfooli et al. 2016):
without it a curved boundary may be approached from inside for ever."""
SMALLEST = 1e-12
"""Keeps the length of a gradient that is zero from being divided by."""


class Smallest(NamedTuple):
    """The nearest wrongly classified images that were found."""

    attacked: Tensor
    """(B, C, H, W) in [0, 1]; the original where none was found or needed."""
    distance: Tensor
    """(B,) float32: 0 where the original is already wrong, infinite where nothing was found."""


def fast_minimum_norm(
    model: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    norm: Literal["linf", "l2"],
    steps: int,
    *,
    overshoot: float = OVERSHOOT,
) -> Smallest:
    """The smallest change found that makes the label lose, by Algorithm 1 of the paper, untargeted, from no change.

    model: pixels in [0, 1] to logits (B, K), differentiable. labels (B,) int64. norm: "linf" is the largest change of
    a pixel value, "l2" the Euclidean length of all. Each step estimates the distance of the boundary until one wrong
    image is known, shrinks the ball by gamma while the image is wrong and lets it grow while it is right; the step
    itself goes along the gradient of the margin, then into the ball and the box. Without randomness; an image's result
    depends on no other one.
    """
    order, dual = (torch.inf, 1) if norm == "linf" else (2, 2)
    attacked = pixels.clone()
    nearest = torch.full((len(labels),), torch.inf, device=pixels.device)
    with torch.no_grad():
        wrong = model(pixels).argmax(dim=1) != labels
    nearest[wrong] = 0
    active = (~wrong).nonzero()[:, 0]
    if len(active) == 0:
        return Smallest(attacked, nearest)
    original, targets = pixels[active], labels[active]
    change = torch.zeros_like(original)
    best, best_change = nearest[active], change
    farthest = _length(torch.maximum(original, 1 - original), order)
    radius = farthest
    for step in range(steps):
        falling = (1 + math.cos(math.pi * step / steps)) / 2
        margins, fooled, gradient = _margin_gradient(model, original + change, targets)
        length = _length(change, order)
        closer = fooled & (length <= best)
        best = torch.where(closer, length, best)
        best_change = torch.where(_spread(closer), change, best_change)
        growth = LAST_GROWTH + (FIRST_GROWTH - LAST_GROWTH) * falling
        to_boundary = (1 + overshoot) * (length + margins.abs() / _length(gradient, dual).clamp(min=SMALLEST))
        unfooled = torch.where(best.isfinite(), radius * (1 + growth), to_boundary)
        radius = torch.where(fooled, torch.minimum(radius * (1 - growth), best), unfooled).minimum(farthest)
        size = FIRST_STEP * (0.01 + 0.99 * falling)
        moved = change - size * gradient / _spread(_length(gradient, 2).clamp(min=SMALLEST))
        change = (original + _into_ball(moved, radius, norm)).clamp(0, 1) - original
    nearest[active] = best
    attacked[active] = (original + best_change).clamp(0, 1)
    return Smallest(attacked, nearest)


def _margin_gradient(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Margins (B,), whether another class wins (B,), and the margins' gradient by the pixels (B, C, H, W)."""
    leaf = images.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = model(leaf)
        margins = margin(logits, labels)
        gradient = torch.autograd.grad(margins.sum(), leaf)[0]
    return margins.detach(), logits.detach().argmax(dim=1) != labels, gradient


def _into_ball(change: Tensor, radius: Tensor, norm: Literal["linf", "l2"]) -> Tensor:
    """The nearest change within each image's radius (B,)."""
    if norm == "linf":
        return change.clamp(-_spread(radius), _spread(radius))
    return change * _spread((radius / _length(change, 2).clamp(min=SMALLEST)).clamp(max=1))


def _length(change: Tensor, order: float) -> Tensor:
    return torch.linalg.vector_norm(change.flatten(1), ord=order, dim=1)


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
