"""One network under attack: the images it is attacked on and its accuracy under each attack."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.evals.api import Context
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import ascent, cross_entropy
from bench.evals.attack_ops.noise import random_noise, random_start
from bench.evals.attack_ops.pgd import fgsm, pgd
from bench.evals.attack_ops.square import square_attack
from bench.evals.attack_ops.subset import AttackedImages, ImageBatch, pixel_model, require_finite_logits
from bench.evals.attack_ops.worst_case import (
    Attack,
    cross_entropy_attacks,
    logits_ratio_attacks,
    robust_accuracy,
    transfer_attack,
)
from bench.evals.draws import ImageDraws
from bench.evals.forward import evaluation_mode
from methods.ops.keys import Key

PGD_STEPS = 20


@dataclass(frozen=True)
class Budget:
    """How hard Auto-PGD tries: steps, restarts, and the most other classes it aims at (0: the untargeted ratio)."""

    steps: int
    targets: int
    restarts: int


class AttackedNetwork:
    """Accuracies of a context's network on the first `per_class` test images of each class (0: all).

    evaluator: who asks, for messages. An image that is wrong without an attack counts as wrong under every attack.
    """

    def __init__(self, evaluator: str, context: Context, per_class: int, batch_size: int, key: Key) -> None:
        self.evaluator = evaluator
        self.context = context
        self.per_class = per_class
        self.batch_size = batch_size
        self.key = key
        self.model = pixel_model(context.backbone, context.normalise)

    @functools.cached_property
    def images(self) -> AttackedImages:
        """The attacked images, chosen when they are first asked for."""
        return AttackedImages(self.context, self.per_class)

    def batches(self) -> Iterator[ImageBatch]:
        """The attacked images, batch by batch."""
        return self.images.batches(self.batch_size)

    def values_per_image(self) -> int:
        """Channels times height times width of an attacked image."""
        return next(self.batches()).pixels[0].numel()

    def half_range(self, norm: str) -> Ball:
        """A ball in which every image reaches uniform grey, so that nothing of it need be left."""
        return Ball("linf", 0.5) if norm == "linf" else Ball("l2", 0.5 * math.sqrt(self.values_per_image()))

    def clean(self) -> float:
        """Accuracy without an attack. BadInput where a logit is infinite or not a number."""
        right = 0
        with evaluation_mode(self.context.backbone, self.context.device), torch.no_grad():
            for batch in self.batches():
                logits = self.model(batch.pixels)
                require_finite_logits(self.evaluator, logits)
                right += int((logits.argmax(dim=1) == batch.labels).sum())
        return right / self.images.size

    def fgsm(self, ball: Ball) -> float:
        """Accuracy under one step of length eps."""
        return self._accuracies(ball, [lambda batch: fgsm(self.model, batch.pixels, batch.labels, ball)])[-1]

    def pgd20(self, ball: Ball, step: float, *, from_image: bool = False) -> float:
        """Accuracy at the last of 20 steps, from a random start or from the image itself."""

        def attack(batch: ImageBatch) -> Tensor:
            start = batch.pixels if from_image else random_start(batch.pixels, ball, self._draws("pgd20", batch))
            return pgd(self.model, batch.pixels, batch.labels, ball, step, PGD_STEPS, start)

        return self._accuracies(ball, [attack])[-1]

    def apgd_ce(self, ball: Ball, budget: Budget) -> float:
        """Accuracy under Auto-PGD on the cross entropy."""
        return self._accuracies(ball, self._cross_entropy(ball, budget))[-1]

    def apgd(self, ball: Ball, budget: Budget) -> tuple[float, float]:
        """Accuracy under Auto-PGD on the cross entropy, and under the worst of that and the logits ratio."""
        first = self._cross_entropy(ball, budget)
        targets = min(budget.targets, self.context.num_classes - 1)
        second = logits_ratio_attacks(self.model, ball, budget.steps, targets, budget.restarts, self.key.fold("apgd"))
        accuracies = self._accuracies(ball, [*first, *second])
        return accuracies[len(first)], accuracies[-1]

    def square(self, ball: Ball, queries: int) -> float:
        """Accuracy under the Square attack."""

        def attack(batch: ImageBatch) -> Tensor:
            draws = self._draws("square", batch)
            return square_attack(self.model, batch.pixels, batch.labels, ball, queries, draws)

        return self._accuracies(ball, [attack])[-1]

    def transfer(self, ball: Ball, steps: int, name: str) -> float | None:
        """Accuracy on images attacked on the context's other network of that name; None where there is none."""
        surrogate = self.context.others.get(name)
        if surrogate is None:
            return None
        other = pixel_model(surrogate, self.context.normalise)
        with evaluation_mode(surrogate, self.context.device):
            return self._accuracies(ball, [transfer_attack(other, ball, steps, self.key)])[-1]

    def random_noise(self, ball: Ball) -> float:
        """Accuracy under a random change of length eps."""
        return self._accuracies(ball, [lambda batch: random_noise(batch.pixels, ball, self._draws("noise", batch))])[-1]

    def zero_gradient(self) -> float:
        """Share of images at which the cross entropy's float32 gradient is exactly zero everywhere."""
        zero = 0
        with evaluation_mode(self.context.backbone, self.context.device):
            for batch in self.batches():
                gradient = ascent(self.model, batch.pixels, cross_entropy, batch.labels, batch.labels).gradient
                zero += int((gradient.flatten(1) == 0).all(dim=1).sum())
        return zero / self.images.size

    def _cross_entropy(self, ball: Ball, budget: Budget) -> list[Attack]:
        return cross_entropy_attacks(self.model, ball, budget.steps, budget.restarts, self.key.fold("apgd"))

    def _accuracies(self, ball: Ball, attacks: Sequence[Attack]) -> list[float]:
        with evaluation_mode(self.context.backbone, self.context.device):
            return robust_accuracy(self.model, self.batches(), ball, attacks)

    def _draws(self, attack: str, batch: ImageBatch) -> ImageDraws:
        return ImageDraws(self.key.fold(attack), batch.positions)
