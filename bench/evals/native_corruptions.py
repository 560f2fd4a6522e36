"""Corruptions for very small images, at their own size before they are enlarged, with severities of their own.

These are not the severities of CIFAR-10-C or ImageNet-C, and no table may call them so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor

from bench.errors import BadInput
from bench.evals.api import (
    Context,
    Done,
    Evaluator,
    Metric,
    Transform,
    distinct,
    metric_key,
)
from bench.evals.corruption_ops.operators import apply_separable, gaussian_operator
from bench.evals.draws import ImageDraws
from bench.evals.forward import accuracy
from methods.ops.keys import Key

LARGEST_SIDE = 16
"""Pixels. The strengths below were chosen on 8x8 digits; on larger images they would mean something else."""

STRENGTHS: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.1, 0.2, 0.3, 0.4, 0.5),
    "gaussian_blur": (0.35, 0.4, 0.45, 0.5, 0.6),
    "contrast": (0.95, 0.9, 0.85, 0.8, 0.75),
    "pixel_dropout": (0.02, 0.05, 0.1, 0.15, 0.2),
    "translate": (0.1, 0.2, 0.3, 0.4, 0.5),
}
"""Per severity 1 to 5: noise sd as share of the data's own sd; blur sigma in pixels; factor on the distance from the
image's mean; share of pixels set to 0; largest shift in pixels along each axis."""


class NativeCorruptions(Evaluator):
    """Top-1 under five corruptions at five severities for images of at most 16 px.

    seed fixes the draws; it is not the run's seed, so every run meets the same corrupted images.
    """

    name: ClassVar[str] = "native_corruptions"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Small-image corruptions (own severities)"

    def __init__(
        self,
        *,
        corruptions: tuple[
            Literal["gaussian_noise", "gaussian_blur", "contrast", "pixel_dropout", "translate"], ...
        ] = ("gaussian_noise", "gaussian_blur", "contrast", "pixel_dropout", "translate"),
        severities: tuple[Annotated[int, Ge(1), Le(5)], ...] = (1, 2, 3, 4, 5),
        seed: Annotated[int, Ge(0)] = 0,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:
        distinct("native_corruptions: corruptions", corruptions)
        distinct("native_corruptions: severities", severities)
        self.corruptions = corruptions
        self.severities = severities
        self.seed = seed
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        cells = [
            metric_key("corruption_top1", {"corruption": corruption, "severity": severity})
            for corruption in self.corruptions
            for severity in self.severities
        ]
        return [*cells, metric_key("corruption_top1_mean", {})]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        feed = context.split("test")
        if feed.native is None or max(feed.native[1:]) > LARGEST_SIDE:
            shown = "of many sizes" if feed.native is None else f"{feed.native[1]}x{feed.native[2]} px"
            raise BadInput(
                f"native_corruptions is for images of at most {LARGEST_SIDE} px, these are {shown}; use 'corruptions'"
            )
        deviation = pixel_deviation(context, feed.native[0])
        values: list[float] = []
        for corruption in self.corruptions:
            for severity in self.severities:
                detail = {"corruption": corruption, "severity": severity}
                value = done.get(metric_key("corruption_top1", detail))
                if value is None:
                    change = transform(corruption, severity, self.seed, deviation)
                    value = accuracy(context, feed, change, self.batch_size)
                    yield Metric("corruption_top1", value, detail)
                values.append(value)
        mean = Metric("corruption_top1_mean", sum(values) / len(values), {})
        if mean.key not in done:
            yield mean


def pixel_deviation(context: Context, channels: int) -> Tensor:
    """The data's sd per channel (C, 1, 1) on images in [0, 1], read off the normaliser."""
    ends = torch.tensor([0, 255], dtype=torch.uint8, device=context.device)
    black, white = context.normalise(ends[:, None, None, None].expand(2, channels, 1, 1))
    return 1 / (white - black)


def transform(corruption: str, severity: int, seed: int, deviation: Tensor) -> Transform:
    """uint8 images (B, C, H, W) and their positions to corrupted uint8 images, rounded to nearest.

    deviation: the data's sd per channel, (C, 1, 1), in [0, 1].
    """
    strength = STRENGTHS[corruption][severity - 1]
    key = Key(seed, "native corruptions", corruption, severity)

    def corrupt(images: Tensor, index: Tensor) -> Tensor:
        draws = ImageDraws(key, index.to(images.device))
        pixels = _OPERATIONS[corruption](images.float() / 255, strength, draws, deviation)
        return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)

    return corrupt


def gaussian_noise(pixels: Tensor, strength: float, draws: ImageDraws, deviation: Tensor) -> Tensor:
    """Add independent normal noise of sd strength * deviation."""
    return pixels + strength * deviation * draws.normal("noise", *pixels.shape[1:])


def gaussian_blur(pixels: Tensor, strength: float, draws: ImageDraws, deviation: Tensor) -> Tensor:
    """Gaussian of sd `strength` pixels, borders repeated."""
    pixels = pixels.double()
    rows, columns = (gaussian_operator(side, strength, pixels) for side in pixels.shape[2:])
    return apply_separable(pixels, rows, columns)


def contrast(pixels: Tensor, strength: float, draws: ImageDraws, deviation: Tensor) -> Tensor:
    """Shrink each channel towards its mean by the factor `strength`."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return mean + strength * (pixels - mean)


def pixel_dropout(pixels: Tensor, strength: float, draws: ImageDraws, deviation: Tensor) -> Tensor:
    """Set each pixel, all channels together, to 0 with probability `strength`."""
    return pixels * (draws.uniform("dropped", 1, *pixels.shape[2:]) >= strength)


def translate(pixels: Tensor, strength: float, draws: ImageDraws, deviation: Tensor) -> Tensor:
    """Shift by up to `strength` pixels along each axis, uniform and fractional; bilinear, zeros come in."""
    height, width = pixels.shape[2:]
    shift = strength * (2 * draws.uniform("shift", 2) - 1)
    matrix = torch.eye(2, 3, device=pixels.device).repeat(len(pixels), 1, 1)
    matrix[:, :, 2] = shift * torch.tensor([2 / width, 2 / height], device=pixels.device)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


_OPERATIONS: dict[str, Callable[[Tensor, float, ImageDraws, Tensor], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "gaussian_blur": gaussian_blur,
    "contrast": contrast,
    "pixel_dropout": pixel_dropout,
    "translate": translate,
}
