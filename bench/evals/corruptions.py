"""The 15 standard and 4 extra corruptions at five severities, made here or read from the published files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from torch import Tensor

from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, Transform, distinct, metric_key
from bench.evals.corruption_ops.library import check_shape, corrupt
from bench.evals.corruption_ops.severities import STANDARD
from bench.evals.corruption_ops.summary import (
    corruption_error,
    mean_accuracy,
    mean_corruption_error,
    relative_mean_corruption_error,
)
from bench.evals.forward import accuracy
from bench.evals.image_folder import target_of
from bench.evals.published import PublishedCorruptions, holds_arrays
from bench.evals.published_folders import PublishedFolders
from bench.evals.subset import first_per_class, subset

Cell = tuple[str, int]
RELATIVE_ERROR = "corruption_error_relative_to_alexnet"


class Corruptions(Evaluator):
    """Top-1 under each corruption at each severity, at the images' own size of 32, 64 or 224 px.

    "corruption_top1" are the 15 that count, "extra_corruption_top1" the 4 that are never averaged with them. seed fixes
    the draws; it is not the run's seed, so every run meets the same corrupted images. files: a folder of published
    corruptions, which are then used instead: the arrays of CIFAR-10-C or CIFAR-100-C, or class folders as in ImageNet-C
    and Tiny-ImageNet-C. "source" in the detail says which it was. per_class: only the first so many images of each
    class, corrupted just as among all of them; 0 is all. With 1000 classes at 224 px (or from files) errors are also
    given relative to AlexNet's, the clean ones measured on the run's own test images.
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
        per_class: Annotated[int, Ge(0), "neutral"] = 0,
        batch_size: Annotated[int, Ge(1)] = 512,
    ) -> None:  # fmt: skip
        distinct("corruptions: corruptions", corruptions)
        distinct("corruptions: severities", severities)
        self.corruptions = corruptions
        self.severities = severities
        self.seed = seed
        self.files = files
        self.per_class = per_class
        self.batch_size = batch_size

    @property
    def source(self) -> str:
        """Where the corrupted images come from, as tables say it."""
        return "files" if self.files else f"regenerated, seed {self.seed}"

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        cells = [metric_key(*self._named(cell)) for cell in self._cells()]
        return [*cells, *(metric_key(*summary) for summary in self._summaries(context))]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        known = {cell: done.get(metric_key(*self._named(cell))) for cell in self._cells()}
        corrupted = self._feeds(context, [cell for cell, value in known.items() if value is None])
        found: dict[Cell, float] = {}
        for cell, value in known.items():
            if value is None:
                value = accuracy(context, *corrupted(cell), self.batch_size)
                name, detail = self._named(cell)
                yield Metric(name, value, detail)
            found[cell] = value
        yield from self._summarised(context, found, done)

    def _feeds(self, context: Context, cells: list[Cell]) -> Callable[[Cell], tuple[EvalFeed, Transform | None]]:
        """What each of the cells is measured on. BadInput before the first one where something is not there."""
        test = context.split("test")
        if not self.files:
            check_shape(test.native)
            images = self._some(test)
            return lambda cell: (images, transform(*cell, self.seed))
        folder = Path(self.files).expanduser()
        if folder.is_dir() and not holds_arrays(folder):
            folders = PublishedFolders(folder, test, context.class_names, context.device)
            folders.check(cells)
            return lambda cell: (self._some(folders.feed(*cell)), None)
        arrays = PublishedCorruptions(folder, test.labels, context.device)
        arrays.check([corruption for corruption, _ in cells])
        resolution = target_of(test).resolution
        return lambda cell: (self._some(arrays.feed(*cell, resolution)), None)

    def _some(self, feed: EvalFeed) -> EvalFeed:
        return subset(feed, first_per_class(feed.labels, self.per_class)) if self.per_class else feed

    def _cells(self) -> list[Cell]:
        return [(corruption, severity) for corruption in self.corruptions for severity in self.severities]

    def _named(self, cell: Cell) -> tuple[str, dict[str, Any]]:
        corruption, severity = cell
        name = "corruption_top1" if corruption in STANDARD else "extra_corruption_top1"
        return name, {"corruption": corruption, "severity": severity, "source": self.source}

    def _complete(self) -> bool:
        return set(self.severities) == {1, 2, 3, 4, 5} and set(STANDARD) <= set(self.corruptions)

    def _summaries(self, context: Context) -> list[tuple[str, dict[str, Any]]]:
        if not self._complete():
            return []
        source = {"source": self.source}
        means = [("corruption_top1_mean", source), ("corruption_error_unnormalised", source)]
        if not self._like_imagenet_c(context):
            return means
        relative = [(RELATIVE_ERROR, {"corruption": corruption, **source}) for corruption in STANDARD]
        return [*means, *relative, *((name, source) for name in ("clean_top1", "mce", "relative_mce"))]

    def _like_imagenet_c(self, context: Context) -> bool:
        native = context.split("test").native
        return context.num_classes == 1000 and (bool(self.files) or (native is not None and native[1] == 224))

    def _summarised(self, context: Context, found: dict[Cell, float], done: Done) -> Iterator[Metric]:
        open_ones = [summary for summary in self._summaries(context) if metric_key(*summary) not in done]
        if not open_ones:
            return
        mean = mean_accuracy(found, STANDARD, self.severities)
        values = {"corruption_top1_mean": mean, "corruption_error_unnormalised": 1 - mean}
        if self._like_imagenet_c(context):
            clean = done.get(metric_key("clean_top1", {"source": self.source}))
            if clean is None:
                clean = accuracy(context, self._some(context.split("test")), None, self.batch_size)
            relative = relative_mean_corruption_error(found, 1 - clean)
            values |= {"clean_top1": clean, "mce": mean_corruption_error(found), "relative_mce": relative}
        for name, detail in open_ones:
            value = corruption_error(found, detail["corruption"]) if name == RELATIVE_ERROR else values[name]
            yield Metric(name, value, detail)


def transform(corruption: str, severity: int, seed: int) -> Transform:
    """uint8 images at their own size and their positions in the split to corrupted ones."""

    def change(images: Tensor, index: Tensor) -> Tensor:
        return corrupt(images, index, corruption, severity, seed)

    return change
