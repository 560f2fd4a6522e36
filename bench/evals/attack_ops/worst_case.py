"""Accuracy under the worst of several attacks, and which attacks those are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from bench.evals.attack_ops.apgd import apgd
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import cross_entropy, likely_others, logits_ratio, targeted_logits_ratio
from bench.evals.attack_ops.noise import random_start
from bench.evals.attack_ops.subset import ImageBatch, PixelModel
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

Attack = Callable[[ImageBatch], Tensor]
"""Images to attacked images of the same shape."""


def robust_accuracy(
    model: PixelModel, batches: Iterable[ImageBatch], ball: Ball, attacks: Sequence[Attack]
) -> list[float]:
    """Share of images classified rightly before any attack, after the first, after the first two, and so on.

    An attack gets only the images that are right after all before it. Its images are checked to be in the ball and
    classified again; that counts, not what the attack believes.
    """
    total = 0
    right = [0] * (len(attacks) + 1)
    for batch in batches:
        total += len(batch.labels)
        left = batch.select(_right(model, batch.pixels, batch.labels))
        right[0] += len(left.labels)
        for place, attack in enumerate(attacks, start=1):
            if not len(left.labels):
                break
            attacked = attack(left)
            ball.check(left.pixels, attacked)
            left = left.select(_right(model, attacked, left.labels))
            right[place] += len(left.labels)
    return [count / total for count in right]


def cross_entropy_attacks(model: PixelModel, ball: Ball, steps: int, restarts: int, key: Key) -> list[Attack]:
    """Auto-PGD on the cross entropy, once a restart."""

    def attack(batch: ImageBatch, restart: int) -> Tensor:
        start = random_start(batch.pixels, ball, ImageDraws(key.fold("cross_entropy", restart), batch.positions))
        return apgd(model, batch.pixels, batch.labels, ball, cross_entropy, steps, start)

    return [_bound(attack, restart) for restart in range(restarts)]


def logits_ratio_attacks(
    model: PixelModel, ball: Ball, steps: int, targets: int, restarts: int, key: Key
) -> list[Attack]:
    """Auto-PGD on the targeted logits ratio, once a restart towards each of the `targets` most likely other classes.

    targets = 0: on the untargeted ratio instead, once a restart.
    """

    def attack(batch: ImageBatch, rank: int, restart: int) -> Tensor:
        start = random_start(batch.pixels, ball, ImageDraws(key.fold("logits_ratio", rank, restart), batch.positions))
        if not targets:
            return apgd(model, batch.pixels, batch.labels, ball, logits_ratio, steps, start)
        with torch.no_grad():
            goal = likely_others(model(batch.pixels), batch.labels, targets)[:, rank]
        return apgd(model, batch.pixels, batch.labels, ball, targeted_logits_ratio, steps, start, goal)

    return [_bound(attack, rank, restart) for rank in range(max(targets, 1)) for restart in range(restarts)]


def transfer_attack(surrogate: PixelModel, ball: Ball, steps: int, key: Key) -> Attack:
    """Auto-PGD on the cross entropy of another network, to its highest loss for every image."""

    def attack(batch: ImageBatch) -> Tensor:
        start = random_start(batch.pixels, ball, ImageDraws(key.fold("transfer"), batch.positions))
        return apgd(surrogate, batch.pixels, batch.labels, ball, cross_entropy, steps, start, stop_at_success=False)

    return attack


def _bound(attack: Callable[..., Tensor], *settings: int) -> Attack:
    return lambda batch: attack(batch, *settings)


def _right(model: PixelModel, pixels: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model(pixels).argmax(dim=1) == labels
