"""The images that are attacked, and the function that is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.subset import test_images

PixelModel = Callable[[Tensor], Tensor]
"""Pixels (B, C, H, W) in [0, 1] to logits (B, K) float32; normalisation is part of it."""


class ImageBatch(NamedTuple):
    """Images to attack, on the device."""

    pixels: Tensor
    """(B, C, H, W) contiguous float32 in [0, 1]."""
    labels: Tensor
    """(B,) int64."""
    positions: Tensor
    """(B,) int64, positions in the split: random starts are keyed by them."""

    def select(self, mask: Tensor) -> ImageBatch:
        """The images where mask (B,) is true."""
        return ImageBatch(self.pixels[mask], self.labels[mask], self.positions[mask])


def pixel_model(backbone: nn.Module, normalise: Callable[[Tensor], Tensor]) -> PixelModel:
    """The attacked function of a network that takes normalised images; `normalise` is of images in [0, 255]."""
    return lambda pixels: backbone(normalise(pixels * 255)).float()


class AttackedImages:
    """All test images of a context, or the first `per_class` of each class (0: all); they are chosen once, here."""

    def __init__(self, context: Context, per_class: int) -> None:
        self.feed, self.positions = test_images(context, per_class)
        self.size = len(self.positions)

    def batches(self, batch_size: int) -> Iterator[ImageBatch]:
        """The images in order, in full batches but for the last, whatever the sizes of the feed's own batches."""
        waiting: list[ImageBatch] = []
        count = seen = 0
        for images, labels in self.feed.batches(batch_size):
            positions = self.positions[seen : seen + len(labels)].to(labels.device)
            seen += len(labels)
            waiting.append(ImageBatch((images.float() / 255).contiguous(), labels, positions))
            count += len(labels)
            while count >= batch_size or (seen == self.size and count):
                together = ImageBatch(*(torch.cat(parts) for parts in zip(*waiting, strict=True)))
                yield ImageBatch(*(part[:batch_size] for part in together))
                waiting = [ImageBatch(*(part[batch_size:] for part in together))]
                count = len(waiting[0].labels)


def require_finite_logits(evaluator: str, logits: Tensor) -> None:
    """BadInput where an image's logits (B, K) without an attack are infinite or not a number."""
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise BadInput(
            f"{evaluator}: the network's logits are not finite on {broken} of {len(logits)} test images that were "
            "tried together; nothing can be said about its robustness"
        )
