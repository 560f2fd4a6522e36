"""Accuracy on another set of images of the same classes: ImageNet-A, -R, -Sketch or any folder of class folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from bench.errors import BadInput
from bench.evals.api import Context, Done, Evaluator, Metric, metric_key
from bench.evals.forward import evaluation_mode
from bench.evals.image_folder import ImageFolderFeed, evaluation_crop_of, read_class_folders, target_of


class Shifted(Evaluator):
    """Top-1 on the images in `files`/<class>/, resized and cropped as the run's own test images.

    Class folders are called as the run's classes are (for ImageNet by WordNet id). set: what the set is called in
    tables. mask: choose only among the classes that have a folder, as the authors of ImageNet-A and ImageNet-R (200 of
    the 1000 classes; Hendrycks et al., arXiv:1907.07174 and arXiv:2006.16241) evaluate.
    """

    name: ClassVar[str] = "shifted"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "Another set of images of the same classes"

    def __init__(
        self, *, files: str | None = None, set: str = "folder", mask: bool = True,
        batch_size: Annotated[int, Ge(1)] = 256,
    ) -> None:  # fmt: skip
        if not set:
            raise BadInput("shifted: set is empty; say what the images are called in tables")
        self.files = files
        self.set = set
        self.mask = mask
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        return [metric_key("shifted_images", {"set": self.set}), metric_key("shifted_top1", self._detail())]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order."""
        if all(key in done for key in self.plan(context)):
            return
        feed = self._feed(context)
        present = feed.labels.unique()
        if self.mask and len(present) < 2:
            raise BadInput(
                f"{self.files}: has one class only, among which a masked network cannot fail; set mask: false"
            )
        count = Metric("shifted_images", float(feed.size), {"set": self.set})
        if count.key not in done:
            yield count
        if metric_key("shifted_top1", self._detail()) not in done:
            allowed = present if self.mask else None
            yield Metric("shifted_top1", masked_accuracy(context, feed, allowed, self.batch_size), self._detail())

    def _detail(self) -> dict[str, Any]:
        return {"set": self.set, "source": "files", "masked": self.mask}

    def _feed(self, context: Context) -> ImageFolderFeed:
        if self.files is None:
            raise BadInput(
                f"shifted: files is not set; give the folder of '{self.set}', with <class>/ folders of images"
            )
        if not context.class_names:
            raise BadInput("shifted: the run's classes have no names that folders could be matched with")
        images = read_class_folders(Path(self.files).expanduser(), context.class_names)
        own = context.split("test")
        return ImageFolderFeed(images, target_of(own), evaluation_crop_of(own), context.device)


def masked_accuracy(context: Context, feed: ImageFolderFeed, allowed: Tensor | None, batch_size: int) -> float:
    """Share of images whose label has the largest logit of the classes in `allowed` (M,) int64; None allows all."""
    forbidden = torch.zeros(context.num_classes, dtype=torch.bool)
    if allowed is not None:
        forbidden[:] = True
        forbidden[allowed] = False
    forbidden = forbidden.to(context.device)
    hits = torch.zeros((), dtype=torch.int64, device=context.device)
    with evaluation_mode(context.backbone, context.device), torch.inference_mode():
        for images, labels in feed.batches(batch_size):
            logits = context.backbone(context.normalise(images)).masked_fill(forbidden, -torch.inf)
            hits += (logits.argmax(dim=1) == labels).sum()
    return hits.item() / feed.size
