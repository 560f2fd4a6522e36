"""The 15 standard and 4 extra corruptions at five severities, made here or read from the published files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from torch import Tensor

from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, Transform, distinct, metric_key
from bench.evals.corruption_ops.library import check_shape, corrupt
from bench.evals.corruption_ops.severities import STANDARD
from bench.evals.corruption_ops.summary import mean_accuracy, mean_corruption_error, relative_mean_corruption_error
from bench.evals.forward import accuracy
from bench.evals.published import PublishedCorruptions

Cell = tuple[str, int]


class Corruptions(Evaluator):
    """Top-1 under each corruption at each severity, at the images' own size of 32, 64 or 224 px.

    "corruption_top1" are the 15 that count, "extra_corruption_top1" the 4 that are never averaged with them. seed fixes
    the draws; it is not the run's seed, so every run meets the same corrupted images. files: a folder of the published
    CIFAR-10-C or CIFAR-100-C arrays, which are then used instead. "source" in the detail says which it was.
    """

    name: ClassVar[str] = "corruptions"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Common corruptions"

    def __init__(
        self,
        *,
        corruptions: tuple[
            Literal[
                "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur",
                "zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate",
                "jpeg_compression", "speckle_noise", "gaussian_blur", "spatter", "saturate",
            ],
            ...,
        ] = (
            "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur",
            "zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate",
            "jpeg_compression", "speckle_noise", "gaussian_blur", "spatter", "saturate",
        ),
        severities: tuple[Annotated[int, Ge(1), Le(5)], ...] = (1, 2, 3, 4, 5),
        seed: Annotated[int, Ge(0)] = 0,
        files: str | None = None,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:  # fmt: skip
        distinct("corruptions: corruptions", corruptions)
        distinct("corruptions: severities", severities)
        self.corruptions = corruptions
        self.severities = severities
        self.seed = seed
        self.files = files
        self.batch_size = batch_size

    @property
    def source(self) -> str:
        """Where the corrupted images come from, as tables say it."""
        return "files" if self.files else f"regenerated, seed {self.seed}"

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        cells = [metric_key(*self._named(cell)) for cell in self._cells()]
        return [*cells, *(metric_key(name, {"source": self.source}) for name in self._summaries(context))]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        feed = context.split("test")
        published = self._published(context, feed)
        resolution = 0 if published is None else next(iter(feed.batches(1)))[0].shape[-1]
        found: dict[Cell, float] = {}
        for corruption, severity in self._cells():
            name, detail = self._named((corruption, severity))
            value = done.get(metric_key(name, detail))
            if value is None:
                if published is None:
                    value = accuracy(context, feed, transform(corruption, severity, self.seed), self.batch_size)
                else:
                    block = published.feed(corruption, severity, resolution)
                    value = accuracy(context, block, None, self.batch_size)
                yield Metric(name, value, detail)
            found[corruption, severity] = value
        yield from self._summarised(context, feed, found, done)

    def _published(self, context: Context, feed: EvalFeed) -> PublishedCorruptions | None:
        if self.files:
            return PublishedCorruptions(Path(self.files).expanduser(), feed.labels, context.device)
        check_shape(feed.native)
        return None

    def _cells(self) -> list[Cell]:
        return [(corruption, severity) for corruption in self.corruptions for severity in self.severities]

    def _named(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        corruption, severity = cell
        name = "corruption_top1" if corruption in STANDARD else "extra_corruption_top1"
        return name, {"corruption": corruption, "severity": severity, "source": self.source}

    def _complete(self) -> bool:
        return set(self.severities) == {1, 2, 3, 4, 5} and set(STANDARD) <= set(self.corruptions)

    def _summaries(self, context: Context) -> list[str]:
        if not self._complete():
            return []
        names = ["corruption_top1_mean", "corruption_error_unnormalised"]
        native = context.split("test").native
        imagenet = context.num_classes == 1000 and native is not None and native[1] == 224
        return [*names, "clean_top1", "mce", "relative_mce"] if imagenet and not self.files else names

    def _summarised(self, context: Context, feed: EvalFeed, found: dict[Cell, float], done: Done) -> Iterator[Metric]:
        names = self._summaries(context)
        if all(metric_key(name, {"source": self.source}) in done for name in names):
            return
        mean = mean_accuracy(found, STANDARD, self.severities)
        values = {"corruption_top1_mean": mean, "corruption_error_unnormalised": 1 - mean}
        if "mce" in names:
            clean = accuracy(context, feed, None, self.batch_size)
            relative = relative_mean_corruption_error(found, 1 - clean)
            values |= {"clean_top1": clean, "mce": mean_corruption_error(found), "relative_mce": relative}
        for name in names:
            metric = Metric(name, values[name], {"source": self.source})
            if metric.key not in done:
                yield metric


def transform(corruption: str, severity: int, seed: int) -> Transform:
    """uint8 images at their own size and their positions in the split to corrupted ones."""

    def change(images: Tensor, index: Tensor) -> Tensor:
        return corrupt(images, index, corruption, severity, seed)

    return change
