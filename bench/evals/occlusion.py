"""Accuracy when random patches of each image are dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from bench.errors import BadInput
from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, distinct, metric_key
from bench.evals.draws import ImageDraws
from bench.evals.feed_batches import indexed_batches
from bench.evals.forward import evaluation_mode
from bench.evals.subset import test_images
from methods.ops.keys import Key


class Occlusion(Evaluator):
    """Random patch drop (Naseer et al., Intriguing Properties of Vision Transformers, NeurIPS 2021).

    The evaluated image is divided into grid x grid equal patches, and exactly round(share * grid**2) of them (halves to
    even) are dropped: set to 0 after normalisation, which is the data's mean colour. Which ones depends on seed and the
    image's position in the split alone, and the patches dropped at a share are among those dropped at any larger one,
    so that the curve over shares is one of images that lose more and more. grid must divide the resolution. seed is not
    the run's seed: every run meets the same images. "occlusion_top1_mean" is the mean over the shares.
    per_class: only the first so many test images of each class, 0 for all.
    """

    name: ClassVar[str] = "occlusion"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Occlusion (random patch drop)"

    def __init__(
        self,
        *,
        shares: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        grid: Annotated[int, Ge(2)] = 4,
        seed: Annotated[int, Ge(0)] = 0,
        per_class: Annotated[int, Ge(0), "neutral"] = 0,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:
        distinct("occlusion: shares", shares)
        self.shares = shares
        self.grid = grid
        self.seed = seed
        self.per_class = per_class
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        cells = [metric_key("occlusion_top1", {"share": share}) for share in self.shares]
        return [*cells, metric_key("occlusion_top1_mean", {})]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order; one pass a share."""
        feed, positions = test_images(context, self.per_class)
        values: list[float] = []
        for share in self.shares:
            detail = {"share": share}
            value = done.get(metric_key("occlusion_top1", detail))
            if value is None:
                value = self._top1(context, feed, positions, share)
                yield Metric("occlusion_top1", value, detail)
            values.append(value)
        mean = Metric("occlusion_top1_mean", sum(values) / len(values), {})
        if mean.key not in done:
            yield mean

    def _top1(self, context: Context, feed: EvalFeed, positions: Tensor, share: float) -> float:
        count = round(share * self.grid**2)
        hits = torch.zeros((), dtype=torch.int64, device=context.device)
        with evaluation_mode(context.backbone, context.device), torch.inference_mode():
            for index, images, labels in indexed_batches(feed, self.batch_size):
                check_grid(images, self.grid)
                dropped = dropped_patches(positions.to(index.device)[index], self.grid, count, self.seed)
                occluded = occlude(context.normalise(images), dropped)
                hits += (context.backbone(occluded).argmax(dim=1) == labels).sum()
        return hits.item() / feed.size


def dropped_patches(index: Tensor, grid: int, count: int, seed: int) -> Tensor:
    """Which patches each image loses: bool (B, grid, grid) with `count` True in each. index (B,): positions."""
    order = ImageDraws(Key(seed, "occlusion"), index).words("order", grid**2).argsort(dim=1, stable=True)
    return (order.argsort(dim=1) < count).view(-1, grid, grid)


def occlude(images: Tensor, dropped: Tensor) -> Tensor:
    """Normalised images (B, C, H, W) with the dropped patches (B, grid, grid) set to 0; grid divides H and W."""
    grid = dropped.shape[-1]
    height, width = (side // grid for side in images.shape[2:])
    pixels = dropped.repeat_interleave(height, dim=1).repeat_interleave(width, dim=2)
    return images.masked_fill(pixels[:, None], 0)


def check_grid(images: Tensor, grid: int) -> None:
    """BadInput where `grid` does not divide the sides of images (B, C, R, R), with the nearest number that does."""
    side = images.shape[-1]
    if side % grid:
        fitting = [number for number in range(2, side + 1) if side % number == 0]
        best = min(fitting, key=lambda number: abs(number - grid))
        raise BadInput(f"occlusion: grid {grid} does not divide the resolution of {side} px; the nearest is {best}")
