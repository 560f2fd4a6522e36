"""Out-of-distribution detection from the logits alone, with OOD as the positive class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le
from torch import Tensor

from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, distinct, metric_key
from bench.evals.detection import SCORES, Detection, detection
from bench.evals.ood_ops.names import SetName, parse_set
from bench.evals.ood_ops.sets import SetOpener, SetOptions
from bench.evals.requirements import finite_predictions, require_classes, require_images

MEASURES = tuple(f"ood_{field}" for field in Detection._fields)
KINDS = ("near", "far")


class OOD(Evaluator):
    """MSP, energy and max-logit of test images against those of near and far sets.

    OOD is the positive class: "ood_fpr95" is the share of test images flagged where 95 % of the OOD images are, and
    "ood_aupr_in" and "ood_aupr_out" depend on how many images either side has. A set is "held_out" (the test images of
    the data's held-out classes; None in a run without any), "gaussian_noise", "uniform_noise", "textures" or "blobs"
    (`generated` images, from `seed`), "folder:PATH" (all images below it; known by the folder's own name and by its
    files' paths and sizes, wherever it lies) or "torchvision:NAME:ROOT" (never downloaded). Pictures are cut to their
    centre after the shorter side was resized to side / crop_share, and resized on as test images are; crop_share 0.875
    is the usual one for ImageNet. convert_channels: grey values are repeated, colours become Rec. 601 luma, where the
    network takes the other; else such a set is refused. "ood_auroc_mean" is over the sets of a kind that are there.
    """

    name: ClassVar[str] = "ood"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "OOD detection (OOD positive)"

    def __init__(
        self,
        *,
        near: tuple[str, ...] = ("held_out",),
        far: tuple[str, ...] = ("gaussian_noise", "uniform_noise", "textures"),
        generated: Annotated[int, Ge(1)] = 2000,
        seed: Annotated[int, Ge(0)] = 0,
        crop_share: Annotated[float, Gt(0), Le(1)] = 1.0,
        convert_channels: bool = False,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:
        self.sets = {"near": [parse_set(text) for text in near], "far": [parse_set(text) for text in far]}
        distinct("ood: near and far", [name.label for kind in KINDS for name in self.sets[kind]])
        self.near, self.far = near, far
        self.generated = generated
        self.seed = seed
        self.crop_share = crop_share
        self.convert_channels = convert_channels
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order. BadInput for fewer than two classes or an empty test split."""
        require_classes(self.name, context)
        require_images(self.name, "the test split", context.split("test"))
        keys: list[str] = []
        for kind in KINDS:
            keys += [metric_key(*named) for name in self.sets[kind] for named in _names(kind, name)]
            keys += [metric_key("ood_auroc_mean", detail) for detail in self._means(kind)]
        return keys

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order. All sets are looked at before the network runs."""
        if all(key in done for key in self.plan(context)):
            return
        feeds = self._open(context, done)
        known: Tensor | None = None
        for kind in KINDS:
            found: dict[str, list[float]] = {score: [] for score in SCORES}
            for name in self.sets[kind]:
                values: dict[str, float | None] = {}
                if name.label in feeds:
                    feed = feeds[name.label]
                    if feed is not None and known is None:
                        known = self._logits(context, "the test split", context.split("test"))
                    values = self._measured(context, name, kind, feed, known)
                for measure, detail in _names(kind, name):
                    key = metric_key(measure, detail)
                    value = done[key] if key in done else values[key]
                    if measure == "ood_auroc" and value is not None:
                        found[detail["score"]].append(value)
                    if key not in done:
                        yield Metric(measure, value, detail)
            for detail in self._means(kind):
                values_found = found[detail["score"]]
                mean = sum(values_found) / len(values_found) if values_found else None
                metric = Metric("ood_auroc_mean", mean, detail)
                if metric.key not in done:
                    yield metric

    def _open(self, context: Context, done: Done) -> dict[str, EvalFeed | None]:
        """The sets that something is missing of, by label."""
        missing = [
            name
            for kind in KINDS
            for name in self.sets[kind]
            if any(metric_key(*named) not in done for named in _names(kind, name))
        ]
        if not missing:
            return {}
        options = SetOptions(self.generated, self.seed, float(self.crop_share), self.convert_channels)
        opener = SetOpener(context, options)
        feeds = {name.label: opener.open(name) for name in missing}
        for label, feed in feeds.items():
            if feed is not None:
                require_images(self.name, label, feed)
        return feeds

    def _measured(
        self, context: Context, name: SetName, kind: str, feed: EvalFeed | None, known: Tensor | None
    ) -> dict[str, float | None]:
        if feed is None or known is None:
            return {metric_key(*named): None for named in _names(kind, name)}
        unknown = self._logits(context, name.label, feed)
        values: dict[str, float | None] = {}
        for score, function in SCORES.items():
            measured = detection(function(known), function(unknown))
            detail = {"score": score, "set": name.label, "kind": kind}
            values |= {metric_key(key, detail): value for key, value in zip(MEASURES, measured, strict=True)}
        return values

    def _logits(self, context: Context, name: str, feed: EvalFeed) -> Tensor:
        return finite_predictions(self.name, name, context, feed, self.batch_size).logits

    def _means(self, kind: str) -> list[dict[str, Any]]:
        return [{"score": score, "kind": kind} for score in SCORES] if self.sets[kind] else []


def _names(kind: str, name: SetName) -> list[tuple[str, dict[str, Any]]]:
    return [(measure, {"score": score, "set": name.label, "kind": kind}) for score in SCORES for measure in MEASURES]
