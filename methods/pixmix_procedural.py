"""PixMix with fractals that are drawn instead of downloaded."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from methods.api import Backbone, BatchShape, Draws, Method, Normalise, Task
from methods.ops.augmix_operations import run_chains
from methods.ops.augmix_plan import Plan, draw_plan, schedule
from methods.ops.fractals import fractal_pictures
from methods.ops.keys import Key
from methods.ops.picture_mixing import combined, crops, draw_powers, larger, spare


class PixMixProcedural(Method):
    """Mix each image, in several rounds, with a picture of a fractal or with augmented copies of itself.

    Definition: per image one picture is drawn, and a crop of it of the image's size. The mix starts from the image or,
    with chance 1/2, from the image after one random operation. Then follow U{0, ..., rounds} rounds. A round takes,
    with equal chance, the picture or a newly augmented copy of the image as o, and sets the mix m, with values in
    [0, 1], to either (a (2 m - 1) + b (2 o - 1) + 1) / 2 or (2 m)^a * (2 o)^b / 2, with equal chance, clipped to
    [0, 1]. With equal chance (a, b) is (u, v) or (1 + v, -w), with u ~ Beta(beta, 1) and v, w ~ Beta(1, beta). The
    operations are AugMix's nine at a level U(0.1, severity). The label stays; the loss is that of plain training.

    Defaults: rounds 4, beta 3, severity 3, the official code's for CIFAR; for ImageNet beta 4, severity 1.

    Differences from PixMix, hence the name: its pictures are some 14,000 downloaded fractals and visualisations of
    features, with much more variety. Here they are attractors of random iterated function systems, `pictures` many,
    drawn once from a fixed key: the same in every run. The official recipe uses four more operations (colour, contrast,
    brightness, sharpness), which overlap the corruptions of the robustness tests and are therefore left out.

    Traps: as in the official code an image has one picture for all of its rounds. Pictures are an eighth larger than
    the crop. Under a power, values of o are raised to at least 1e-37 first. Numbers of this method say nothing about
    the published picture set.
    """

    title = "PixMix (procedural fractals)"
    paper = (
        "Hendrycks et al., PixMix: Dreamlike Pictures Comprehensively Improve Safety Measures, CVPR 2022, "
        "arXiv 2112.05135; the picture set is this harness's own"
    )
    family = "single-image"
    venue = "CVPR 2022"
    proved = "PIL operation by operation, a loop over images and rounds in float64"
    pictures: Tensor

    def __init__(
        self,
        *,
        rounds: Annotated[int, Ge(0)] = 4,
        beta: Annotated[float, Gt(0)] = 3.0,
        severity: Annotated[int, Ge(1), Le(10)] = 3,
        pictures: Annotated[int, Ge(1), Le(4096)] = 128,
    ) -> None:
        super().__init__()
        self.rounds = rounds
        self.beta = beta
        self.severity = severity
        self.count = pictures

    def setup(self, backbone: Backbone, task: Task) -> None:
        """Draw the pictures, (pictures, C, ceil(9 H / 8), ceil(9 W / 8)) uint8."""
        super().setup(backbone, task)
        channels, height, width = task.input_shape
        pictures = fractal_pictures(self.count, channels, larger(height), larger(width))
        self.register_buffer("pictures", pictures, persistent=False)

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """picture: (B,) int64. corner: (B, 2) int64 pixels. count: (B,) int64 rounds of an image. framed, multiplied:
        (rounds, B) bool, whether a round takes the picture, and whether it multiplies. powers: (2, rounds, B) float32,
        a and b. The rest: see `augmix_plan.schedule`; chain k * B + i is the start (k = 0) or round k of image i.
        """
        generator = key.fold("rounds").generator()
        size, each = shape.size, (self.rounds, shape.size)
        framed = generator.random(each) < 0.5
        tensors = {
            "picture": generator.integers(self.count, size=size),
            "corner": generator.integers(spare(shape.height, shape.width), size=(size, 2)),
            "count": generator.integers(self.rounds + 1, size=size),
            "framed": framed,
            "multiplied": generator.random(each) < 0.5,
            "powers": draw_powers(generator, self.beta, each),
        }
        plan = self.plan(key, shape, framed)
        return Draws(
            tensors={
                **{name: torch.from_numpy(values) for name, values in tensors.items()},
                **schedule(plan, size, shape.height, shape.width),
            }
        )

    def plan(self, key: Key, shape: BatchShape, framed: np.ndarray) -> Plan:
        """The operation of each start and round, of depth 0 where none is used."""
        generator = key.fold("operations").generator()
        chains = (self.rounds + 1) * shape.size
        plan = draw_plan(generator, chains=chains, steps=1, random_depth=False, severity=self.severity)
        started = generator.random((1, shape.size)) < 0.5
        return dataclasses.replace(plan, depth=np.concatenate([started, ~framed]).astype(np.int64).reshape(-1))

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The mixed images."""
        copies = run_chains(images, draws.tensors, 1).view(self.rounds + 1, *images.shape)
        height, width = images.shape[-2:]
        picture = crops(self.pictures, draws["picture"], draws["corner"], height, width).float() / 255
        column = (..., None, None, None)
        mixed = copies[0].float() / 255
        for number in range(self.rounds):
            other = torch.where(draws["framed"][number][column], picture, copies[number + 1].float() / 255)
            result = combined(mixed, other, draws["powers"][:, number][column], draws["multiplied"][number][column])
            mixed = torch.where((number < draws["count"])[column], result.clamp(0, 1), mixed)
        return (normalise(255 * mixed),)
