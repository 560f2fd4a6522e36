"""Localisation of objects by class activation maps, where boxes are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt

from bench.backbones.stages import StageRefused
from bench.errors import BadInput
from bench.evals.activation_map import activation_maps, best_overlap, largest_component_box
from bench.evals.api import Context, Done, EvalFeed, Evaluator, Metric, distinct, metric_key
from bench.evals.boxes import read_boxes
from bench.evals.feed_batches import indexed_batches
from bench.evals.forward import evaluation_mode


class Localisation(Evaluator):
    """MaxBoxAcc (Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020).

    An image's map is Grad-CAM of its label's logit at the last stage, see `activation_maps`; its box at a threshold t
    is the tightest one around the largest connected component of map >= t. "localisation_accuracy" {iou} is the share
    of the images with boxes whose box overlaps any given box by at least that intersection over union, at the best of
    the thresholds 1/n, 2/n, ..., 1 with n = thresholds, one for all images. The threshold is chosen on the test images,
    as in the paper, for every network alike. "localisation_mean" is the mean over ious.

    boxes: CSV file with columns image, left, top, right, bottom, see `read_boxes`. A map of zeros has no box. None
    where the last stage cannot be edited, or where no logit depends on its positions
    (a transformer that classifies by its class token alone).
    """

    name: ClassVar[str] = "localisation"
    version: ClassVar[str] = "1"
    title: ClassVar[str] = "CAM localisation (MaxBoxAcc)"

    def __init__(
        self,
        *,
        boxes: str | None = None,
        ious: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.3, 0.5, 0.7),
        thresholds: Annotated[int, Ge(1)] = 50,
        batch_size: Annotated[int, Ge(1)] = 128,
    ) -> None:
        distinct("localisation: ious", ious)
        self.boxes = boxes
        self.ious = ious
        self.thresholds = thresholds
        self.batch_size = batch_size

    def plan(self, context: Context) -> list[str]:
        """Keys of all metrics, in order."""
        cells = [metric_key("localisation_accuracy", {"iou": iou}) for iou in self.ious]
        return [*cells, metric_key("localisation_mean", {})]

    def evaluate(self, context: Context, done: Done) -> Iterator[Metric]:
        """Every metric that is not done, in the plan's order; one pass."""
        if self.boxes is None:
            raise BadInput(
                "localisation: needs boxes: FILE, a CSV file with the columns image,left,top,right,bottom in which "
                "coordinates are shares of the image"
            )
        if all(key in done for key in self.plan(context)):
            return
        feed = context.split("test")
        accuracy = self._accuracy(context, feed, read_boxes(Path(self.boxes).expanduser(), feed.size))
        values: list[float | None] = [None] * (len(self.ious) + 1)
        if accuracy is not None:
            best = accuracy.max(axis=0)
            values = [*best.tolist(), float(best.mean())]
        metrics = [
            *(
                Metric("localisation_accuracy", value, {"iou": iou})
                for iou, value in zip(self.ious, values, strict=False)
            ),
            Metric("localisation_mean", values[-1], {}),
        ]
        yield from (metric for metric in metrics if metric.key not in done)

    def _accuracy(self, context: Context, feed: EvalFeed, boxes: dict[int, np.ndarray]) -> np.ndarray | None:
        """BoxAcc by threshold and overlap, (thresholds, ious); None where it cannot be measured."""
        hits = np.zeros((self.thresholds, len(self.ious)), dtype=np.int64)
        measurable = False
        boxed = torch.zeros(feed.size, dtype=torch.bool)
        boxed[list(boxes)] = True
        with evaluation_mode(context.backbone, context.device):
            for index, images, labels in indexed_batches(feed, self.batch_size):
                chosen = boxed[index.cpu()].to(index.device)
                if not chosen.any():
                    continue
                try:
                    maps, depends = activation_maps(context.backbone, context.normalise(images[chosen]), labels[chosen])
                except StageRefused:
                    return None
                measurable |= depends
                for place, heat in zip(index[chosen].tolist(), maps.cpu().numpy(), strict=True):
                    hits += self._found(heat, boxes[place])
        return hits / len(boxes) if measurable else None

    def _found(self, heat: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Whether one map (H, W) finds one of the boxes (M, 4), by threshold and overlap."""
        found = np.zeros((self.thresholds, len(self.ious)), dtype=bool)
        for place in range(self.thresholds):
            box = largest_component_box(heat >= np.float32((place + 1) / self.thresholds))
            if box is not None:
                found[place] = best_overlap(box, boxes) >= np.array(self.ious)
        return found
