"""Noisy Feature Mixup: Mixup of images or of hidden features, with noise added to the mix."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, FeatureMap, Loss, Method, Task, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from methods.ops.white_noise import draw_seeds, normal, uniform

INPUT = "input"


class NoisyFeatureMixup(Method):
    """Mixup at a depth drawn anew for each batch, of which each value is then scaled and shifted by noise.

    Definition: a depth uniform over {0, ..., deepest_stage}; 0 mixes the images, k the features after the backbone's
    k-th main stage. lam ~ Beta(alpha, alpha) and the permutation are shared by the batch. The mix m becomes
    (1 + multiplicative * s * u) * m + additive * t * n, with u ~ U(-1, 1) and n ~ N(0, 1) drawn for every single value
    and s, t ~ Beta(2, 5) for the batch. A transformer's class and register tokens are mixed and disturbed like its
    grid. The loss is lam * L(logits, y) + (1 - lam) * L(logits, y[permutation]).

    Defaults: alpha 1.0, additive 0.4, multiplicative 0.2, depths {0, 1, 2, 3}: the official code's for CIFAR.

    Differences from the official code: the noise is made from a hash of positions and drawn seeds, which gives the same
    noise on every device; that code takes it from the generator of GPU 0. Stages are the backbone's own.
    `lam_per: sample` draws one lam an image, which that code does not offer; the noise stays as it is.

    Traps: noise has the scale of normalised pixels or of raw features, so its strength depends on the depth and on the
    normalisation. Noise stays at alpha 0, where only the mixing ends; with both levels at 0 this is Manifold Mixup of
    the same depths bit for bit. Each noisy value costs about twenty integer operations, which shows on a CPU.
    """

    title = "Noisy Feature Mixup"
    paper = "Lim et al., Noisy Feature Mixup, ICLR 2022, arXiv 2110.02180"
    family = "feature"
    venue = "ICLR 2022"
    mixes = "input and features"
    proved = "Manifold Mixup without noise, tests of the noise's distribution, a loop over values"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        additive: Annotated[float, Ge(0)] = 0.4,
        multiplicative: Annotated[float, Ge(0)] = 0.2,
        deepest_stage: Annotated[int, Ge(0)] = 3,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.additive = additive
        self.multiplicative = multiplicative
        self.deepest_stage = deepest_stage
        self.lam_per = lam_per

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Backbones with fewer main stages than the deepest one to mix."""
        if len(backbone.stages) < self.deepest_stage:
            return f"mixes after stage {self.deepest_stage}, and the backbone has {len(backbone.stages)} stages"
        return None

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch: "input", "stage1", ... lam: () or (B,) float32. permutation: (B,) int64. levels: (2,) float32, the
        strengths of the multiplicative and of the additive noise. seeds: (4, 2) int64, see `disturbed`.
        """
        depth = int(key.fold("depth").generator().integers(self.deepest_stage + 1))
        levels = key.fold("levels").generator().beta(2, 5, 2) * (self.multiplicative, self.additive)
        tensors = {
            "lam": draw_lam(key, self.alpha, shape.size if self.lam_per == "sample" else None),
            "permutation": draw_permutation(key, shape.size),
            "levels": torch.from_numpy(levels.astype(np.float32)),
            "seeds": draw_seeds(key.fold("noise"), 4),
        }
        return Draws(branch=f"stage{depth}" if depth else INPUT, tensors=tensors)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass that is mixed and disturbed at the drawn depth."""
        (images,) = batch.views
        permutation, lam = draws["permutation"], draws["lam"]
        levels, seeds = draws["levels"], draws["seeds"]

        def mixed(values: Tensor, seeds: Tensor) -> Tensor:
            values = mix(values, values[permutation], lam)
            return disturbed(values, levels, seeds) if self.additive or self.multiplicative else values

        def edit(features: FeatureMap) -> FeatureMap:
            spatial, prefix = features
            return FeatureMap(mixed(spatial, seeds[:2]), None if prefix is None else mixed(prefix, seeds[2:]))

        if draws.branch == INPUT:
            logits = backbone(mixed(images, seeds[:2]))
        else:
            logits = backbone(images, edit={int(draws.branch.removeprefix("stage")) - 1: edit})
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})


def disturbed(values: Tensor, levels: Tensor, seeds: Tensor) -> Tensor:
    """(1 + levels[0] * u) * values + levels[1] * n in the dtype of `values`, computed in at least float32.

    u ~ U(-1, 1) from seeds[0] and n ~ N(0, 1) from seeds[1], one of each a value; seeds (2, 2) int64.
    """
    scale = 1 + levels[0] * (2 * uniform(seeds[0], values.shape) - 1)
    return (scale * values + levels[1] * normal(seeds[1], values.shape)).to(values.dtype)
