"""Manifold Mixup: convex combinations of images or of hidden features."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge

from methods.api import Backbone, Batch, BatchShape, Draws, FeatureMap, Loss, Method, Task, mixed_loss
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam, draw_permutation, mix

INPUT = "input"


class ManifoldMixup(Method):
    """Mixup at a depth drawn anew for each batch: the input or the features after an early stage.

    Definition: a depth uniform over {0, ..., deepest_stage}; 0 mixes the images, k the features after the backbone's
    k-th main stage. lam ~ Beta(alpha, alpha) and the permutation are shared by the batch. A transformer's class and
    register tokens are mixed like its grid. The loss is lam * L(logits, y) + (1 - lam) * L(logits, y[permutation]).

    Defaults: alpha 2.0 and depths {0, 1, 2}, the official code's for CIFAR (alpha 0.2 for Tiny-ImageNet). A third of
    the batches are thus plain Mixup, and the last stages are never mixed.

    Differences from the official code: that code minimises the binary cross entropy of the softmax outputs against the
    two-hot label, for the plain baseline too; here the loss is the protocol's, cross entropy unless it says otherwise,
    so numbers are not comparable with the paper's. Stages are the backbone's own, where the paper has those of a
    ResNet. `lam_per: sample` draws one lam an image, which that code does not offer.

    Traps: at the same key lam and permutation are those of Mixup whatever the depth, so depth 0 is Mixup bit for bit.
    Nothing is mixed in evaluation: the edit exists only inside this loss.
    """

    title = "Manifold Mixup"
    paper = (
        "Verma et al., Manifold Mixup: Better Representations by Interpolating Hidden States, ICML 2019, "
        "arXiv 1806.05236"
    )
    family = "feature"
    venue = "ICML 2019"
    mixes = "input and features"
    proved = "a forward pass cut by hand at every stage, Mixup at depth 0"

    def __init__(
        self,
        *,
        alpha: Annotated[float, Ge(0)] = 2.0,
        deepest_stage: Annotated[int, Ge(0)] = 2,
        lam_per: Annotated[Literal["batch", "sample"], "neutral"] = "batch",
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.deepest_stage = deepest_stage
        self.lam_per = lam_per

    def skip(self, backbone: Backbone, task: Task) -> str | None:
        """Backbones with fewer main stages than the deepest one to mix."""
        if len(backbone.stages) < self.deepest_stage:
            return f"mixes after stage {self.deepest_stage}, and the backbone has {len(backbone.stages)} stages"
        return None

    def draw(self, key: Key, shape: BatchShape) -> Draws:
        """branch: "input", "stage1", "stage2", ... lam: () or (B,) float32. permutation: (B,) int64."""
        depth = int(key.fold("depth").generator().integers(self.deepest_stage + 1))
        lam = draw_lam(key, self.alpha, shape.size if self.lam_per == "sample" else None)
        tensors = {"lam": lam, "permutation": draw_permutation(key, shape.size)}
        return Draws(branch=f"stage{depth}" if depth else INPUT, tensors=tensors)

    def loss(self, backbone: Backbone, batch: Batch, draws: Draws) -> Loss:
        """The mixed loss of one pass that is mixed at the drawn depth."""
        (images,) = batch.views
        permutation, lam = draws["permutation"], draws["lam"]

        def edit(features: FeatureMap) -> FeatureMap:
            spatial, prefix = features
            return FeatureMap(
                mix(spatial, spatial[permutation], lam),
                None if prefix is None else mix(prefix, prefix[permutation], lam),
            )

        if draws.branch == INPUT:
            logits = backbone(mix(images, images[permutation], lam))
        else:
            logits = backbone(images, edit={int(draws.branch.removeprefix("stage")) - 1: edit})
        return Loss(mixed_loss(self.task.criterion, logits, batch.labels, permutation, lam), {"share_kept": lam.mean()})
