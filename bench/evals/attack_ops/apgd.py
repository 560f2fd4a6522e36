"""Auto-PGD (Croce and Hein 2020, algorithm 1): projected gradient ascent that chooses its own step size."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import AttackLoss, ascent
from bench.evals.attack_ops.subset import PixelModel

MOMENTUM = 0.75
"""alpha: weight of the new step; the rest goes to the last move."""
RISE_SHARE = 0.75
"""rho: the step is halved where a smaller share of the steps since the last checkpoint has raised the loss."""


def checkpoints(steps: int) -> list[int]:
    """Numbers of steps after which the step size is looked at: ceil(p_j * steps), increasing.

    In per cent, p_1 = 22 and p_(j+1) = p_j + max(p_j - p_(j-1) - 3, 6), as far as 100.
    """
    place, width = 22, 22
    found: list[int] = []
    while place <= 100:
        found.append(-(-place * steps // 100))
        width = max(width - 3, 6)
        place += width
    return sorted(set(found))


def apgd(
    model: PixelModel,
    pixels: Tensor,
    labels: Tensor,
    ball: Ball,
    loss: AttackLoss,
    steps: int,
    start: Tensor,
    targets: Tensor | None = None,
    *,
    stop_at_success: bool = True,
) -> Tensor:
    """For each image the first misclassified one on its way, else the one of highest loss; (B, C, H, W) in the ball.

    pixels and start (B, C, H, W) in [0, 1], start in the ball; labels (B,) int64; targets (B,) int64 for a targeted
    loss. The first step is 2 eps. stop_at_success=False goes on to the highest loss for every image, as one does on
    a network that stands in for another.
    """
    attacked = start.clone()
    state = _begin(model, pixels, labels, labels if targets is None else targets, ball, loss, start)
    looks = checkpoints(steps)
    last_look = 0
    for step in range(1, steps + 1):
        state = _without_success(state, attacked) if stop_at_success else state
        if not len(state.rows):
            return attacked
        _advance(state, ball, MOMENTUM if step > 1 else 1.0)
        _look_around(state, model, loss)
        if step in looks:
            _adapt(state, step - last_look)
            last_look = step
    state = _without_success(state, attacked) if stop_at_success else state
    attacked[state.rows] = state.best
    return attacked


@dataclass
class _State:
    """The images still under attack, one row each. `loss` and `gradient` are at `current`."""

    rows: Tensor
    pixels: Tensor
    labels: Tensor
    targets: Tensor
    current: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    length: Tensor
    """The step size, (B, 1, 1, 1)."""
    rises: Tensor
    """Steps since the last checkpoint that raised the loss, (B,)."""
    checkpoint_loss: Tensor
    """The highest loss at the last checkpoint."""
    halved: Tensor
    """Whether the step was halved at the last checkpoint, (B,)."""
    fooled: Tensor
    """Whether `current` is misclassified, (B,)."""

    def select(self, mask: Tensor) -> _State:
        """The rows where mask (B,) is true."""
        return _State(**{item.name: getattr(self, item.name)[mask] for item in fields(self)})


def _begin(
    model: PixelModel, pixels: Tensor, labels: Tensor, targets: Tensor, ball: Ball, loss: AttackLoss, start: Tensor
) -> _State:
    logits, losses, gradient = ascent(model, start, loss, labels, targets)
    return _State(
        rows=torch.arange(len(pixels), device=pixels.device),
        pixels=pixels,
        labels=labels,
        targets=targets,
        current=start,
        previous=start,
        gradient=gradient,
        loss=losses,
        best=start.clone(),
        best_gradient=gradient.clone(),
        best_loss=losses.clone(),
        length=torch.full((len(pixels), 1, 1, 1), 2 * ball.eps, dtype=pixels.dtype, device=pixels.device),
        rises=torch.zeros(len(pixels), device=pixels.device),
        checkpoint_loss=losses.clone(),
        halved=torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device),
        fooled=logits.argmax(dim=1) != labels,
    )


def _without_success(state: _State, attacked: Tensor) -> _State:
    """Write misclassified images to `attacked` and drop their rows."""
    if not state.fooled.any():
        return state
    attacked[state.rows[state.fooled]] = state.current[state.fooled]
    return state.select(~state.fooled)


def _advance(state: _State, ball: Ball, momentum: float) -> None:
    ahead = ball.project(state.pixels, state.current + state.length * ball.direction(state.gradient))
    move = momentum * (ahead - state.current) + (1 - momentum) * (state.current - state.previous)
    state.previous, state.current = state.current, ball.project(state.pixels, state.current + move)


def _look_around(state: _State, model: PixelModel, loss: AttackLoss) -> None:
    """Loss and gradient at the new place; the best place so far."""
    logits, losses, gradient = ascent(model, state.current, loss, state.labels, state.targets)
    state.rises += losses > state.loss
    state.loss, state.gradient, state.fooled = losses, gradient, logits.argmax(dim=1) != state.labels
    _copy_rows(state, losses > state.best_loss, to_best=True)


def _adapt(state: _State, steps_since: int) -> None:
    """At a checkpoint: halve the step and go back to the best place where the ascent has stalled (conditions 1, 2)."""
    stalled = ~state.halved & (state.checkpoint_loss == state.best_loss)
    state.halved = (state.rises < RISE_SHARE * steps_since) | stalled
    state.length = torch.where(_spread(state.halved), state.length / 2, state.length)
    _copy_rows(state, state.halved, to_best=False)
    state.checkpoint_loss = state.best_loss.clone()
    state.rises = torch.zeros_like(state.rises)


def _copy_rows(state: _State, mask: Tensor, *, to_best: bool) -> None:
    """Where mask (B,): the current place becomes the best one, or the best one the current."""
    for current, best in (("current", "best"), ("gradient", "best_gradient"), ("loss", "best_loss")):
        origin, goal = (current, best) if to_best else (best, current)
        old = getattr(state, goal)
        setattr(state, goal, torch.where(_spread(mask) if old.ndim > 1 else mask, getattr(state, origin), old))


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
