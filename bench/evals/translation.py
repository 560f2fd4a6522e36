"""Accuracy and agreement of predictions when images are shifted by whole pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from bench.errors import BadInput
from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, distinct, metric_key
from bench.evals.forward import evaluation_mode, predict
from bench.evals.subset import test_images

DIRECTIONS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))
"""Up, down, left, right and the four diagonals, as steps in rows and columns."""

NAMES = ("translation_top1", "translation_consistency")
Padding = Literal["reflect", "zeros"]


class Translation(Evaluator):
    """Top-1 and consistency under shifts, each the mean over the eight directions.

    A shift of s moves the evaluated image by s pixels along the rows, the columns or both, so that a diagonal shift has
    the length s * sqrt(2). "translation_consistency" is the share of (image, direction) whose top-1 class is that of
    the image that was not shifted, right or wrong; Zhang (Making Convolutional Networks Shift-Invariant Again, ICML
    2019) compares two randomly shifted images instead, so the numbers are not comparable. padding says what comes in at
    the border: "reflect" mirrors without repeating the border pixel, "zeros" is black.
    per_class: only the first so many test images of each class, 0 for all.
    """

    name: ClassVar[str] = "translation"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Translation (whole pixels, eight directions)"

    def __init__(
        self,
        *,
        shifts: tuple[Annotated[int, Ge(1)], ...] = (2, 4, 8),
        padding: Literal["reflect", "zeros"] = "reflect",
        per_class: Annotated[int, Ge(0), "neutral"] = 0,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:
        distinct("translation: shifts", shifts)
        self.shifts = shifts
        self.padding: Padding = padding
        self.per_class = per_class
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key(name, {"shift": shift}) for shift in self.shifts for name in NAMES]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order; one pass for the reference and one a shift."""
        if all(key in done for key in self.plan(context)):
            return
        feed, _ = test_images(context, self.per_class)
        side = next(iter(feed.batches(1)))[0].shape[-1]
        if max(self.shifts) >= side:
            raise BadInput(
                f"translation: a shift of {max(self.shifts)} px leaves nothing of {side} px images; "
                f"the largest that works is {side - 1}"
            )
        reference = predict(context, feed, None, self.batch_size).logits.argmax(dim=1).to(context.device)
        for shift in self.shifts:
            if any(metric_key(name, {"shift": shift}) not in done for name in NAMES):
                for name, value in zip(NAMES, self._shifted(context, feed, reference, shift), strict=True):
                    metric = Metric(name, value, {"shift": shift})
                    if metric.key not in done:
                        yield metric

    def _shifted(self, context: Context, feed: EvalFeed, reference: Tensor, shift: int) -> tuple[float, float]:
        hits = torch.zeros(2, dtype=torch.int64, device=context.device)
        start = 0
        with evaluation_mode(context.backbone, context.device), torch.inference_mode():
            for images, labels in feed.batches(self.batch_size):
                unshifted = reference[start : start + len(labels)]
                start += len(labels)
                for down, right in DIRECTIONS:
                    moved = translated(images, shift * down, shift * right, self.padding)
                    predicted = context.backbone(context.normalise(moved)).argmax(dim=1)
                    hits += torch.stack([(predicted == labels).sum(), (predicted == unshifted).sum()])
        top1, consistency = (count / (feed.size * len(DIRECTIONS)) for count in hits.tolist())
        return top1, consistency


def translated(images: Tensor, down: int, right: int, padding: Padding) -> Tensor:
    """Images (B, C, H, W) of any dtype moved by whole pixels; |down| < H and |right| < W. A new tensor."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - down
    columns = torch.arange(width, device=images.device) - right
    moved = images[:, :, _mirrored(rows, height)][:, :, :, _mirrored(columns, width)]
    if padding == "zeros":
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        moved = moved.masked_fill(~inside, 0)
    return moved


def _mirrored(places: Tensor, size: int) -> Tensor:
    """Places in -(size - 1) .. 2 * (size - 1) reflected into 0 .. size - 1."""
    return size - 1 - (size - 1 - places.abs()).abs()
