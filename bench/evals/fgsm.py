"""One-step gradient attack in pixel space. A legacy column: mixing is a regulariser, not a defence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le

from bench.evals.api import (
    Context,
    Done,
    Evaluator,
    Metric,
    distinct,
    metric_key,
)
from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.loss import ascent, cross_entropy
from bench.evals.attack_ops.subset import AttackedImages, pixel_model, require_finite_logits
from bench.evals.forward import evaluation_mode


class FGSM(Evaluator):
    """x + eps * sign(gradient of the cross entropy), clamped to [0, 1] (Goodfellow et al. 2015).

    eps_255 are L-infinity radii in 1/255 of the pixel range. Normalisation is part of the attacked function; float32,
    evaluation mode, one step, no random start. per_class: attack only the first so many images of each class, 0 all.
    "fgsm_zero_gradient" is the share of images whose gradient is exactly zero everywhere: those count as robust
    without being so.
    """

    name: ClassVar[str] = "fgsm"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "FGSM (one step; legacy)"

    def __init__(
        self,
        *,
        eps_255: tuple[Annotated[float, Gt(0), Le(255)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0),
        per_class: Annotated[int, Ge(0)] = 0,
        batch_size: Annotated[int, Ge(1)] = 256,
    ) -> None:
        distinct("fgsm: eps_255", eps_255)
        self.eps_255 = tuple(float(eps) for eps in eps_255)
        self.per_class = per_class
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        radii = [metric_key("fgsm_top1", {"eps_255": eps}) for eps in self.eps_255]
        return [metric_key("fgsm_clean_top1", {}), *radii, metric_key("fgsm_zero_gradient", {})]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        images = AttackedImages(context, self.per_class)
        model = pixel_model(context.backbone, context.normalise)
        hits = torch.zeros(len(self.eps_255) + 2, dtype=torch.int64, device=context.device)
        with evaluation_mode(context.backbone, context.device):
            for pixels, labels, _ in images.batches(self.batch_size):
                logits, _, gradient = ascent(model, pixels, cross_entropy, labels, labels)
                require_finite_logits(self.name, logits)
                hits[0] += (logits.argmax(dim=1) == labels).sum()
                hits[-1] += (gradient.flatten(1) == 0).all(dim=1).sum()
                for place, eps in enumerate(self.eps_255, start=1):
                    ball = Ball("linf", eps / 255)
                    attacked = ball.project(pixels, pixels + ball.eps * ball.direction(gradient))
                    ball.check(pixels, attacked)
                    with torch.no_grad():
                        hits[place] += (model(attacked).argmax(dim=1) == labels).sum()
        shares = [count / images.size for count in hits.tolist()]
        metrics = [
            Metric("fgsm_clean_top1", shares[0], {}),
            *(
                Metric("fgsm_top1", share, {"eps_255": eps})
                for eps, share in zip(self.eps_255, shares[1:-1], strict=True)
            ),
            Metric("fgsm_zero_gradient", shares[-1], {}),
        ]
        yield from (metric for metric in metrics if metric.key not in done)
