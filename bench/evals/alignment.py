"""Alignment effect: how much the logits change when features are aligned before they are mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, cast

import torch
from annotated_types import Ge

from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.feed_batches import sampled_batches
from bench.evals.forward import evaluation_mode
from methods.api import Batch, Method
from methods.ops.keys import Key

NAME = "alignment_effect"
DIRECTIONS = ("to_first", "to_second")


class Alignment(Evaluator):
    """The method's own diagnostics "alignment_effect_to_first" and "..._to_second", averaged over batches.

    For AlignMix that is |Z - Z'| / |Z'| at lam 0.5: Z the logits of aligned mixes, Z' those with the transport plan
    replaced by the identity. 0 means that alignment does nothing. `steps` batches of mixing_batch images, drawn from
    `images` of the test split, each with a permutation of its own; evaluation mode. None for methods that tell no such
    number and for networks trained elsewhere.
    """

    name: ClassVar[str] = "alignment"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Alignment effect"

    def __init__(
        self,
        *,
        images: Annotated[int, Ge(2)] = 1024,
        mixing_batch: Annotated[int, Ge(2)] = 64,
        steps: Annotated[int, Ge(1)] = 16,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.images = images
        self.mixing_batch = mixing_batch
        self.steps = steps
        self.seed = seed

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key(NAME, {"direction": direction}) for direction in DIRECTIONS]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        effects = {} if context.method is None else self._effects(context, context.method)
        for direction in DIRECTIONS:
            metric = Metric(NAME, effects.get(direction), {"direction": direction})
            if metric.key not in done:
                yield metric

    def _effects(self, context: Context, method: Method) -> dict[str, float]:
        method = method.to(context.device)
        key = Key(self.seed, "alignment")
        feed = context.split("test")
        found: dict[str, list[float]] = {direction: [] for direction in DIRECTIONS}
        with (
            evaluation_mode(context.backbone, context.device),
            evaluation_mode(method, context.device),
            torch.no_grad(),
        ):
            batches = sampled_batches(feed, key, pool=self.images, size=self.mixing_batch, steps=self.steps)
            for step, (images, labels) in enumerate(batches):
                batch = Batch((context.normalise(images),), labels)
                told = method.diagnostics(cast("Any", context.backbone), batch, key.fold("draw", step))
                for direction in DIRECTIONS:
                    if (value := told.get(f"{NAME}_{direction}")) is not None:
                        found[direction].append(float(value))
                if not any(found.values()):
                    break
        return {direction: sum(values) / len(values) for direction, values in found.items() if values}
