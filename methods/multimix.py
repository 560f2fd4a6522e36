"""MultiMix: many convex combinations of a whole batch, in the embedding."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from methods.api import Backbone, Batch, BatchShape, Draws, Loss, Method, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix
from methods.ops.soft_labels import soft_label_loss

INPUT, EMBEDDING = "input", "embedding"


class MultiMix(Method):
    """Mix all embeddings of a batch at once, many times over, with weights from Dirichlet distributions.

    Definition: for each batch a coin (input_share) chooses Mixup of the pixels, or clean images through the encoder. In
    the second case Z (d x B) are the batch's embeddings, the input of the classifier, and Y its one-hot labels. The
    columns of Lambda (B x n) are drawn from Dir(alpha) with an alpha of their own, uniform over [alpha_low,
    alpha_high]; Z Lambda and Y Lambda are n mixed embeddings and labels, and the loss is the mean of L over them. Since
    the classifier is affine and a column of Lambda sums to 1, its logits on Z Lambda are Z's logits times Lambda: that
    is what is computed, exactly, without a mixed embedding in memory.

    Defaults: 1000 mixes a batch, alpha between 0.5 and 2, input mixing in half of the batches, alpha 1.0 there. These
    four values could not be checked against the paper's text and no official code was found: verify them before citing
    numbers of this method as MultiMix's own.

    Differences from the official code: none is known to be released, so this is a reading of the paper; the dense form
    (Dense MultiMix) is not offered. Another public reading, which has the same 1000 mixes and the same range of alpha,
    draws one alpha for each example, new for every batch, and all mixes from that one Dirichlet distribution; here
    each mix has an alpha of its own that all examples share. Which of the two the paper means could not be decided.

    Traps: the loss needs criterion values for n * min(B, K) rows of K logits: 10,000 rows with ten classes, but some
    gigabytes with 1000 classes and a batch of 256; lower `tuples` there. A backbone whose classifier is not one affine
    layer would be mixed after it instead of before it; timm's classifiers are affine. A mix belongs to no image: the
    share kept of such a batch is the mean weight of an image, 1 / B. A batch of one is plain training.
    """

    title = "MultiMix"
    paper = (
        "Venkataramanan et al., Embedding Space Interpolation Beyond Mini-Batch, Beyond Pairs and Beyond Examples, "
        "NeurIPS 2023, arXiv 2311.05538"
    )
    family = "feature"
    venue = "NeurIPS 2023"
    mixes = "input and features"
    proved = "mixed embeddings through timm's own classifier with soft labels, scipy's Dirichlet moments, Mixup"

    def __init__(
        self,
        *,
        tuples: Annotated[int, Ge(1)] = 1000,
        alpha_low: Annotated[float, Ge(0.05)] = 0.5,
        alpha_high: Annotated[float, Ge(0.05)] = 2.0,
        input_share: Annotated[float, Ge(0), Le(1)] = 0.5,
        input_alpha: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        super().__init__()
        if alpha_low > alpha_high:
            raise ValueError(f"alpha_low {alpha_low} is above alpha_high {alpha_high}")
        self.tuples = tuples
        self.alpha_low = alpha_low
        self.alpha_high = alpha_high
        self.input_share = input_share
        self.input_alpha = input_alpha

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch "input": lam () float32, permutation (B,) int64. branch "embedding": weights (n, B) float32, rows sum
        to 1: Lambda, transposed."""
        if key.fold("branch").generator().random() < self.input_share:
            lam = draw_lam(key, self.input_alpha)
            return Draws(INPUT, {"lam": lam, "permutation": draw_permutation(key, shape.size)})
        generator = key.fold("weights").generator()
        alpha = generator.uniform(self.alpha_low, self.alpha_high, (self.tuples, 1))
        gamma = generator.standard_gamma(alpha, (self.tuples, shape.size))
        weights = (gamma / gamma.sum(1, keepdims=True)).astype(np.float32)
        return Draws(EMBEDDING, {"weights": torch.from_numpy(weights)})

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass: over mixed images, or over n mixes of the clean images' embeddings."""
        (images,) = batch.views
        if draws.branch == INPUT:
            permutation, lam = draws["permutation"], draws["lam"]
            logits = backbone(mix(images, images[permutation], lam))
            total = mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam)
            return Loss(total, {"share_kept": lam.mean()})
        weights = draws["weights"]
        total = self._mixed(backbone(images), batch.labels, weights).mean()
        return Loss(total, {"share_kept": weights.mean()})

    def _mixed(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            return soft_label_loss(self.task.criterion, weights @ logits.float(), labels, weights)
