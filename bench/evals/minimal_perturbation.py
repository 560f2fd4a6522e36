"""How large a change of an image fools the network: a number that does not saturate where every attack succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from bench.evals.api import Context, Done, Evaluator, Metric, distinct, metric_key
from bench.evals.attack_ops.ball import check_box
from bench.evals.attack_ops.fmn import fast_minimum_norm
from bench.evals.attack_ops.subset import AttackedImages, pixel_model, require_finite_logits
from bench.evals.forward import evaluation_mode
from bench.evals.requirements import require_classes, require_images

PIXEL_UNITS = {"linf": 255.0, "l2": 1.0}
"""What a distance is multiplied with: L-infinity is told in 1/255 of the pixel range."""


class MinimalPerturbation(Evaluator):
    """Median over images of the smallest change found by the fast minimum-norm attack (Pintor et al. 2021).

    "perturbation_median" counts every image: 0 for one that is wrong without an attack, infinite for one that was never
    fooled, and is None where it is infinite itself. L-infinity in 1/255 of the pixel range, L2 as Euclidean length of
    pixels in [0, 1]. "perturbation_found" is the share of images, wrong ones included, for which there is a wrong one
    at all: below 1 the gradient is likely masked. The attack gives an upper bound; it needs no random numbers.
    per_class: only the first so many images of each class, 0 all.
    """

    name: ClassVar[str] = "minimal_perturbation"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Median minimal perturbation (fast minimum-norm attack)"

    def __init__(
        self,
        *,
        norms: tuple[Literal["linf", "l2"], ...] = ("linf", "l2"),
        steps: Annotated[int, Ge(1)] = 100,
        per_class: Annotated[int, Ge(0)] = 0,
        batch_size: Annotated[int, Ge(1)] = 256,
    ) -> None:
        distinct("minimal_perturbation: norms", norms)
        self.norms = norms
        self.steps = steps
        self.per_class = per_class
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        require_classes(self.name, context)
        return [metric_key(name, detail) for norm in self.norms for name, detail in _named(norm)]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        require_classes(self.name, context)
        require_images(self.name, "the test split", context.split("test"))
        images = AttackedImages(context, self.per_class)
        for norm in self.norms:
            if all(metric_key(name, detail) in done for name, detail in _named(norm)):
                continue
            distances = self._distances(context, images, norm)
            values = (median(distances * PIXEL_UNITS[norm]), distances.isfinite().double().mean().item())
            for (name, detail), value in zip(_named(norm), values, strict=True):
                if metric_key(name, detail) not in done:
                    yield Metric(name, value, detail)

    def _distances(self, context: Context, images: AttackedImages, norm: Literal["linf", "l2"]) -> Tensor:
        model = pixel_model(context.backbone, context.normalise)
        found = []
        with evaluation_mode(context.backbone, context.device):
            for batch in images.batches(self.batch_size):
                with torch.no_grad():
                    require_finite_logits(self.name, model(batch.pixels))
                smallest = fast_minimum_norm(model, batch.pixels, batch.labels, norm, self.steps)
                check_box(smallest.attacked)
                found.append(smallest.distance.cpu())
        return torch.cat(found)


def median(distances: Tensor) -> float | None:
    """The middle distance of (N,), N >= 1, or the mean of the two in the middle; None where that is infinite."""
    ordered = distances.double().sort().values
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return middle.item() if middle.isfinite() else None


def _named(norm: str) -> list[tuple[str, dict[str, Any]]]:
    return [("perturbation_median", {"norm": norm}), ("perturbation_found", {"norm": norm})]
