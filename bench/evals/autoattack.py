"""AutoAttack in its standard version (Croce and Hein 2020), by the package pyautoattack, on a fixed subset."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import nn

from bench.errors import BadInput
from bench.evals.api import Context, Done, Evaluator, Metric, distinct, metric_key
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.subset import AttackedImages, ImageBatch, PixelModel, pixel_model, require_finite_logits
from bench.evals.forward import evaluation_mode
from bench.evals.requirements import require_images

PACKAGE = "pyautoattack"
PACKAGE_NORMS = {"linf": "Linf", "l2": "L2"}
FEWEST_CLASSES = 4
"""The targeted logits ratio divides by a difference that involves the third and fourth largest logit."""


class AutoAttack(Evaluator):
    """Share of images that stay right under Auto-PGD on the cross entropy, targeted Auto-PGD on the logits ratio,
    targeted FAB and Square with 5,000 queries, one after the other on what is still right.

    linf_255 are L-infinity radii in 1/255 of the pixel range, l2 Euclidean radii for pixels in [0, 1]. targets: how
    many other classes the targeted attacks try, at most, 9 in the standard version: those of largest logit without an
    attack, all of them where the network has no more (min(targets, classes - 1)). per_class: only the first so many
    images of each class, 0 all. The package draws for a batch as a whole, so images_at_once decides the numbers a
    little and is part of what is recorded. Pixel space, normalisation inside, float32, evaluation mode; ball and box
    are checked. Its own warnings (gradients of zero, probabilities for logits, a random network, Square beating the
    others) go to the log.
    """

    name: ClassVar[str] = "autoattack"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "AutoAttack, standard (mixing is a regulariser, not a defence)"

    def __init__(
        self,
        *,
        linf_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (2.0,),
        l2: tuple[Annotated[float, Gt(0)], ...] = (),
        targets: Annotated[int, Ge(1)] = 9,
        per_class: Annotated[int, Ge(0)] = 100,
        images_at_once: Annotated[int, Ge(1)] = 250,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if not linf_255 and not l2:
            raise BadInput("autoattack: linf_255 and l2 are both empty, there is no radius to attack at")
        for setting, radii in (("linf_255", linf_255), ("l2", l2)):
            if radii:
                distinct(f"autoattack: {setting}", radii)
        self.linf_255 = tuple(float(eps) for eps in linf_255)
        self.l2 = tuple(float(eps) for eps in l2)
        self.targets = targets
        self.per_class = per_class
        self.images_at_once = images_at_once
        self.seed = seed

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order; BadInput where the package is not installed or there are too few classes."""
        self._require(context)
        return [
            metric_key("attack_clean_top1", {}),
            *(metric_key("attack_top1", detail) for detail, _ in self._balls()),
        ]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        self._require(context)
        images = AttackedImages(context, self.per_class)
        if metric_key("attack_clean_top1", {}) not in done:
            yield Metric("attack_clean_top1", self._top1(context, images, None), {})
        if self.l2:
            require_tiles(next(iter(context.split("test").batches(1)))[0].shape[2])
        for detail, ball in self._balls():
            if metric_key("attack_top1", detail) not in done:
                yield Metric("attack_top1", self._top1(context, images, ball), detail)

    def _require(self, context: Context) -> None:
        if importlib.util.find_spec(PACKAGE) is None:
            raise BadInput(f"autoattack needs {PACKAGE}, which is not installed: pip install 'mixbench[autoattack]'")
        classes = context.num_classes
        if classes < FEWEST_CLASSES:
            raise BadInput(f"autoattack needs a network with {FEWEST_CLASSES} or more classes, this one has {classes}")
        require_images(self.name, "the test split", context.split("test"))

    def _balls(self) -> list[tuple[dict[str, Any], Ball]]:
        balls = [(eps, Ball("linf", eps / 255)) for eps in self.linf_255] + [(eps, Ball("l2", eps)) for eps in self.l2]
        return [({"attack": "autoattack", "norm": ball.norm, "eps": eps}, ball) for eps, ball in balls]

    def _top1(self, context: Context, images: AttackedImages, ball: Ball | None) -> float:
        """Share of images that are right without an attack (None) or stay right within a ball."""
        model = pixel_model(context.backbone, context.normalise)
        right = 0
        with evaluation_mode(context.backbone, context.device), undisturbed(context.backbone, context.device):
            for batch in images.batches(self.images_at_once):
                if ball is None:
                    with torch.no_grad():
                        logits = model(batch.pixels)
                    require_finite_logits(self.name, logits)
                    right += int((logits.argmax(dim=1) == batch.labels).sum())
                else:
                    right += self._robust(model, batch, ball, context)
        return right / images.size

    def _robust(self, model: PixelModel, batch: ImageBatch, ball: Ball, context: Context) -> int:
        package = importlib.import_module(PACKAGE)
        norm, device = PACKAGE_NORMS[ball.norm], context.device
        attack = package.AutoAttack(model, norm=norm, eps=ball.eps, seed=self.seed, version="standard", device=device)
        targets = min(self.targets, context.num_classes - 1)
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = targets
        attacked, predicted = attack.run_standard_evaluation(batch.pixels, batch.labels, batch_size=len(batch.labels))
        ball.check(batch.pixels, attacked)
        return int((predicted == batch.labels).sum())


def require_tiles(height: int) -> None:
    """BadInput for images on which the package's Euclidean Square attack fails: its first tiles do not fit."""
    side = height // 5
    if side == 0 or (side > 1 and (height - 5 * side) // 2 + height // side * side > height):
        raise BadInput(f"autoattack: {PACKAGE} cannot attack images of {height} pixels in l2; leave l2 empty")


@contextmanager
def undisturbed(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Weights collect no gradients inside, and torch's random state and the trace function come back at the end.

    The package seeds torch's global generators, calls `backward` and clears `sys.settrace`, which coverage tools use.
    """
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    trace = sys.gettrace()
    devices = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        for parameter in wanted:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            sys.settrace(trace)
            for parameter in wanted:
                parameter.requires_grad_(True)
