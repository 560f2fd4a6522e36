"""Cutout: a square of each image erased, nothing mixed."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor

from methods.api import BatchShape, Draws, Method, Normalise
from methods.ops.keys import Key
from methods.ops.sample_boxes import box_masks


class Cutout(Method):
    """Erase a square at a random place of each image; the label stays.

    Definition: per image, a square of `side` times the shorter side of the image (rounded to whole pixels, at least 1),
    whose centre pixel is uniform over the image; what sticks out is clipped. Erased pixels are 0 after normalisation,
    which is the mean colour of the data. The loss is that of plain training.

    Defaults: side 0.5, the paper's 16 of 32 pixels for CIFAR-10. Its value for CIFAR-100 is 8 of 32 pixels, side 0.25.

    Differences from the official code: sizes are shares, so that other resolutions have a default. A square of an odd
    number of pixels keeps its size, where the official code erases one row and one column less.

    Traps: because of the clipping the mean erased area is less than side squared: at side 0.5 the square covers 0.191
    of the image on average, not 0.25. Erasing with black pixels before normalisation is another method.
    """

    title = "Cutout"
    paper = (
        "DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, preprint 2017, "
        "arXiv 1708.04552"
    )
    family = "single-image"
    venue = "preprint 2017"
    proved = "a loop over images and pixels, all centres enumerated"

    def __init__(self, *, side: Annotated[float, Gt(0), Le(1)] = 0.5) -> None:
        super().__init__()
        self.side = side

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """boxes: (B, 4) int64 top, bottom, left, right in pixels, ends excluded."""
        length = max(1, round(self.side * min(shape.height, shape.width)))
        sizes = np.array([shape.height, shape.width])
        start = key.fold("centre").generator().integers(sizes, size=(shape.size, 2)) - length // 2
        edges = np.stack([start, start + length], axis=-1).clip(0, sizes[:, None])
        return Draws(tensors={"boxes": torch.from_numpy(edges.reshape(-1, 4))})

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The images with their squares erased."""
        erased = box_masks(draws["boxes"], images.shape[-2], images.shape[-1])
        return (normalise(images).masked_fill(erased, 0.0),)
