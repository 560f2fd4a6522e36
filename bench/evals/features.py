"""How tight and how far apart the classes are in the network's last features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from bench.backbones.stages import StageRefused
from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.forward import evaluation_mode

NAMES = ("feature_distance_intra", "feature_distance_inter", "feature_distance_ratio")


class Features(Evaluator):
    """Squared Euclidean distances within and between classes, of the test images' features on the unit sphere.

    z is the last stage's map (before any final norm or non-linearity of the head; a transformer's grid without its
    class token), averaged over positions and divided by its Euclidean norm. Distances are in [0, 4].
    "feature_distance_intra": the mean of |z_i - z_j|**2 over pairs i != j of one class, averaged over the classes with
    two images or more. With equal weights for the classes this is the alignment loss of Wang and Isola (ICML 2020) at
    exponent 2, images of a class being the positive pairs. "feature_distance_inter": the mean of |m_c - m_d|**2 over
    pairs of classes, m_c being the mean of the z of class c. "feature_distance_ratio": intra / inter, smaller for
    tighter and better separated classes. All pairs enter, through sums. None where the last stage cannot be read or
    there are too few images or classes.
    """

    name: ClassVar[str] = "features"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Feature distances within and between classes"

    def __init__(self, *, batch_size: Annotated[int, Ge(1)] = 512) -> None:
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key(name, {}) for name in NAMES]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order; one pass."""
        if all(key in done for key in self.plan(context)):
            return
        try:
            intra, inter = self._sums(context).distances()
        except StageRefused:
            intra = inter = None
        ratio = intra / inter if intra is not None and inter else None
        for name, value in zip(NAMES, (intra, inter, ratio), strict=True):
            metric = Metric(name, value, {})
            if metric.key not in done:
                yield metric

    def _sums(self, context: Context) -> ClassSums:
        backbone = cast("Any", context.backbone)
        sums = ClassSums(context.num_classes)
        with evaluation_mode(context.backbone, context.device), torch.inference_mode():
            for images, labels in context.split("test").batches(self.batch_size):
                spatial = backbone.features(context.normalise(images)).spatial
                sums.add(F.normalize(spatial.float().mean(dim=(2, 3)), dim=1), labels)
        return sums


class ClassSums:
    """What all pairwise squared distances need: per class the count, the sum of z and the sum of |z|**2, float64."""

    def __init__(self, num_classes: int) -> None:
        self.counts = torch.zeros(num_classes, dtype=torch.float64)
        self.squares = torch.zeros(num_classes, dtype=torch.float64)
        self.sums: Tensor | None = None

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Count in features (B, C) with labels (B,)."""
        features, labels = features.cpu().double(), labels.cpu()
        if self.sums is None:
            self.sums = torch.zeros(len(self.counts), features.shape[1], dtype=torch.float64)
        self.sums.index_add_(0, labels, features)
        self.squares.index_add_(0, labels, features.square().sum(dim=1))
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def distances(self) -> tuple[float | None, float | None]:
        """intra and inter, None where there is no pair.

        The sum over ordered pairs of |z_i - z_j|**2 is 2 n sum |z|**2 - 2 |sum z|**2, for images as for centres.
        """
        if self.sums is None:
            return None, None
        pairs = self.counts > 1
        within = _mean_pair_distance(self.counts[pairs], self.squares[pairs], self.sums[pairs])
        present = self.counts > 0
        centres = self.sums[present] / self.counts[present, None]
        between = _mean_pair_distance(
            present.sum()[None].double(), centres.square().sum()[None], centres.sum(dim=0)[None]
        )
        return (
            within.mean().item() if len(within) else None,
            between.item() if len(centres) > 1 else None,
        )


def _mean_pair_distance(counts: Tensor, squares: Tensor, sums: Tensor) -> Tensor:
    """Mean over pairs of different points, (G,), from G groups' counts (G,), sums of squares (G,), sums (G, C)."""
    total = 2 * counts * squares - 2 * sums.square().sum(dim=1)
    return total.clamp(min=0) / (counts * (counts - 1))
