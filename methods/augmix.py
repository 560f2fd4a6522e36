"""AugMix: an image mixed with augmented copies of itself, and consistency between two such mixes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, Normalise
from methods.ops.augmix_operations import mix, run_chains
from methods.ops.augmix_plan import Plan, draw_plan, schedule
from methods.ops.jensen_shannon import consistency_loss
from methods.ops.keys import Key

RANDOM_DEPTH = 3


class AugMix(Method):
    """Mix each image with augmented copies of itself; make the predictions on two such mixes and the image agree.

    Definition: per image and view, `width` chains of operations, w ~ Dirichlet(alpha, ..., alpha) and m ~ Beta(alpha,
    alpha); the view is (1 - m) * x + m * sum_i w_i * chain_i(x). A chain takes U{1, 2, 3} steps (depth -1) or `depth`
    steps; each step draws one of nine operations (rotate, shear x and y, translate x and y, autocontrast, equalize,
    posterize, solarize), a level U(0.1, severity) on a scale of 10 and a fair sign. At level l: rotation by
    int(3 l) degrees, shear by 0.03 l, translation by int(l * side / 30) pixels, 4 - int(0.4 l) bits kept, inversion
    from 256 - int(25.6 l) up. The label is unchanged. With jsd the network sees the image and two views in one batch of
    3 B; the loss is L(clean logits, y) + jsd_weight * the Jensen-Shannon divergence of the three predictions: the mean
    over them of KL(p || mixture), averaged over the batch, with the mixture clamped to at least 1e-7. Without jsd it is
    L on one view.

    Defaults: severity 3, width 3, random depth, weight 12, those of the official CIFAR code (severity 1 for ImageNet).

    Differences from the official code: operations run in batches on uint8 tensors of any size, with the same results as
    PIL level by level, and images that are not square shift by a third of their own side. The mix is made from pixels
    before normalisation, which is the same because the weights sum to 1. The divergence is computed from log
    probabilities, so that a probability that underflows to 0 has a finite gradient; computed from probabilities, as in
    the official code, its gradient is NaN. Normalisation is the data set's.

    Traps: all draws are per image; libraries that draw once a call share them within a batch. Operations that overlap
    the ImageNet-C corruptions (colour, contrast, brightness, sharpness) are left out: they would make robustness scores
    unfair. With jsd a step costs three times as much. Against one image at a time through PIL the batch is four to six
    times as fast at 32 pixels on a CPU core, and 1.7 times at 224. Autocontrast and equalize depend on the whole image,
    so chains are run after the crop, as in the official code. Warps need float64 on the device. depth 0 takes no step
    and gives back the image.
    """

    title = "AugMix"
    paper = (
        "Hendrycks et al., AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty, ICLR 2020, "
        "arXiv 1912.02781"
    )
    family = "single-image"
    venue = "ICLR 2020"
    proved = "PIL operation by operation, a loop over images and chains"

    def __init__(
        self,
        *,
        severity: Annotated[int, Ge(1), Le(10)] = 3,
        width: Annotated[int, Ge(1)] = 3,
        depth: Annotated[int, Ge(-1)] = -1,
        alpha: Annotated[float, Gt(0)] = 1.0,
        jsd: bool = True,
        jsd_weight: Annotated[float, Ge(0)] = 12.0,
    ) -> None:
        super().__init__()
        self.severity = severity
        self.width = width
        self.depth = depth
        self.alpha = alpha
        self.jsd = jsd
        self.jsd_weight = jsd_weight

    @property
    def augmented_views(self) -> int:
        """Views besides the clean image: two with jsd, else one."""
        return 2 if self.jsd else 1

    @property
    def steps(self) -> int:
        """Most steps that a chain takes."""
        return RANDOM_DEPTH if self.depth < 0 else self.depth

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """weights: (V, width, B) float32, sums over width to 1. m: (V, B) float32. The rest: see `schedule`."""
        views = self.augmented_views
        generator = key.fold("mix").generator()
        weights = generator.dirichlet(np.full(self.width, self.alpha), (views, shape.size)).swapaxes(1, 2)
        strength = generator.beta(self.alpha, self.alpha, (views, shape.size))
        plan = self.plan(key, shape)
        return Draws(
            tensors={
                "weights": torch.from_numpy(weights.astype(np.float32)),
                "m": torch.from_numpy(strength.astype(np.float32)),
                **schedule(plan, shape.size, shape.height, shape.width),
            }
        )

    def plan(self, key: Key, shape: BatchShape) -> Plan:
        """What the chains of a step do; chain k of image i in view v has index (v * width + k) * B + i."""
        return draw_plan(
            key.fold("chains").generator(),
            chains=self.augmented_views * self.width * shape.size,
            steps=self.steps,
            random_depth=self.depth < 0,
            severity=self.severity,
        )

    def views(self, images: Tensor, normalise: Normalise, draws: Draws) -> tuple[Tensor, ...]:
        """The clean images (with jsd only) and the mixed views."""
        views, width, size = draws["weights"].shape
        ends = run_chains(images, draws.tensors, self.steps).view(views, width, *images.shape)
        mixed = mix(images, ends, draws["weights"], draws["m"])
        augmented = normalise(mixed.flatten(0, 1)).split(size)
        return (normalise(images), *augmented) if self.jsd else augmented

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """One pass over all views; the divergence only with jsd."""
        if not self.jsd:
            return super().loss(backbone, batch, draws)
        return consistency_loss(backbone, batch, self.task.criterion, self.jsd_weight)
