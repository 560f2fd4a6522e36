"""Manifold intrusion: mixed images that look like a class which neither source has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, cast

import torch
from annotated_types import Ge
from torch import Tensor, nn

from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.feed_batches import sampled_batches
from bench.evals.forward import evaluation_mode
from bench.evals.recording import RecordingBackbone
from methods.api import Batch, BatchShape, Draws, Method, guided
from methods.ops.keys import Key

NAMES = ("manifold_intrusion", "manifold_intrusion_clean", "mixed_share")
PROGRESS = 0.5
"""Methods whose mixing changes during training are looked at half-way."""


class Intrusion(Evaluator):
    """Share of mixed images that a network trained without mixing gives to a third class (after Guo et al., MixUp as
    Locally Linear Out-of-Manifold Regularization, AAAI 2019).

    `steps` batches of mixing_batch images, drawn from `images` of the test split, go through the run's own method: its
    draws, its views and its loss, on the trained network in evaluation mode. What that network is given without an edit
    of its features is what the method made in pixel space. An image counts when it differs from its original and its
    partner is another image. "manifold_intrusion" is the share of these that the ERM network of another seed gives to
    a class that is neither the label nor the label of image permutation[i], where the draws have a "permutation";
    else to a class that is not the label. "manifold_intrusion_clean" is the same share, of the same images and classes,
    before mixing: what is there without any mixing. "mixed_share" is the share of batches in which an image counted.

    None: the first two without an ERM network or where no image counted; all without a method. Passes of another image
    size, or of no multiple of the batch, are not looked at. Batch size and steps decide the draws and thus the numbers.
    """

    name: ClassVar[str] = "intrusion"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Manifold intrusion of mixed images"
    needs: ClassVar[tuple[str, ...]] = ("erm",)

    def __init__(
        self,
        *,
        images: Annotated[int, Ge(2)] = 1024,
        mixing_batch: Annotated[int, Ge(2)] = 64,
        steps: Annotated[int, Ge(1)] = 128,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.images = images
        self.mixing_batch = mixing_batch
        self.steps = steps
        self.seed = seed

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key(name, {}) for name in NAMES]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        values = (None, None, None) if context.method is None else self._measured(context, context.method)
        for name, value in zip(NAMES, values, strict=True):
            metric = Metric(name, value, {})
            if metric.key not in done:
                yield metric

    def _measured(self, context: Context, method: Method) -> tuple[float | None, float | None, float]:
        method = method.to(context.device)
        erm = context.others.get("erm")
        key = Key(self.seed, "intrusion")
        intruders, counted, mixed_steps = [0, 0], 0, 0
        with (
            evaluation_mode(context.backbone, context.device),
            evaluation_mode(method, context.device),
        ):
            feed = context.split("test")
            batches = sampled_batches(feed, key, pool=self.images, size=self.mixing_batch, steps=self.steps)
            for step, (images, labels) in enumerate(batches):
                clean = context.normalise(images)
                made, draws = mixed_images(context, method, images, labels, key.fold("draw", step))
                sources = source_labels(labels, draws)
                found = [(mixed, chosen) for mixed in made if (chosen := mixed_mask(mixed, clean, draws)).any()]
                mixed_steps += bool(found)
                for mixed, chosen in found:
                    counted += int(chosen.sum())
                    if erm is not None:
                        for place, pictures in enumerate((mixed, clean)):
                            third = third_class(erm, context.device, pictures[chosen], sources[chosen])
                            intruders[place] += int(third.sum())
        if erm is None or not counted:
            return None, None, mixed_steps / self.steps
        return intruders[0] / counted, intruders[1] / counted, mixed_steps / self.steps


def mixed_images(
    context: Context, method: Method, images: Tensor, labels: Tensor, key: Key
) -> tuple[list[Tensor], Draws]:
    """What the method gives to the network without an edit, as batches like `images`, and the draws that it had.

    images uint8 (B, C, R, R), labels (B,). The batches are normalised (B, C, R, R); image i of each is made from
    image i. Gradients are on, since some methods ask the network for them.
    """
    drawn = method.draw(key, BatchShape(*images.shape, progress=PROGRESS))
    draws = Draws(drawn.branch, {name: value.to(images.device) for name, value in drawn.tensors.items()})
    with torch.no_grad():
        views = method.views(images, context.normalise, draws)
    recording = RecordingBackbone(context.backbone)
    batch = Batch(views, labels)
    method.loss(cast("Any", recording), batch, guided(method, cast("Any", context.backbone), batch, draws))
    fitting = [seen for seen in recording.passes if seen.shape[1:] == images.shape[1:] and len(seen) % len(images) == 0]
    return [part for seen in fitting for part in seen.split(len(images))], draws


def mixed_mask(mixed: Tensor, clean: Tensor, draws: Draws) -> Tensor:
    """Which images (B,) bool of `mixed` differ from `clean`, both (B, C, R, R), and have another image as partner."""
    changed = (mixed != clean).flatten(1).any(dim=1)
    permutation = draws.tensors.get("permutation")
    if permutation is None:
        return changed
    return changed & (permutation != torch.arange(len(permutation), device=permutation.device))


def source_labels(labels: Tensor, draws: Draws) -> Tensor:
    """The classes that each image is made of: (B, 2), or (B, 1) where the draws have no partner."""
    permutation = draws.tensors.get("permutation")
    return labels[:, None] if permutation is None else torch.stack([labels, labels[permutation]], dim=1)


def third_class(network: nn.Module, device: torch.device, images: Tensor, sources: Tensor) -> Tensor:
    """Whether the network gives each normalised image (B, C, R, R) to a class outside its `sources` (B, S): (B,)."""
    with evaluation_mode(network, device), torch.inference_mode():
        predicted = network(images).argmax(dim=1)
    return (predicted[:, None] != sources).all(dim=1)
