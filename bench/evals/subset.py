"""A few images of a split, with the positions that they have in the whole of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.data.resident import checked
from bench.data.streaming import StreamingEval
from bench.data.streaming_worker import Request
from bench.evals.api import Context, EvalFeed, Transform
from bench.evals.image_folder import ImageFolderFeed


def first_per_class(labels: Tensor, count: int) -> Tensor:
    """Positions (M,) int64, increasing, of the first `count` images of each class; fewer where a class has fewer."""
    order = labels.cpu().argsort(stable=True)
    sizes = labels.cpu().unique(return_counts=True)[1]
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return order[torch.arange(len(order)) - first < count].sort().values


def test_images(context: Context, per_class: int) -> tuple[EvalFeed, Tensor]:
    """The test split, or the first `per_class` images of each class where that is above 0, and their positions (M,)."""
    feed = context.split("test")
    if per_class == 0:
        return feed, torch.arange(feed.size)
    positions = first_per_class(feed.labels, per_class)
    return subset(feed, positions), positions


def subset(feed: EvalFeed, positions: Tensor) -> EvalFeed:
    """The images at `positions` (M,), increasing. A transform meets them alone, at their positions in the whole split.

    Files are decoded for those images only. (The positions of an ImageFolderFeed's subset start from 0.)
    """
    return feed.chosen(positions) if isinstance(feed, ImageFolderFeed) else FeedSubset(feed, positions)


class FeedSubset:
    """An EvalFeed over some images of another one, in its order."""

    def __init__(self, feed: EvalFeed, positions: Tensor) -> None:
        self.feed, self.positions = feed, positions
        self.size = len(positions)
        self.labels = feed.labels[positions]
        self.native = feed.native

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels; from a feed in memory a batch is what falls into one of its batches."""
        if isinstance(self.feed, StreamingEval):
            yield from self._streamed(self.feed, batch_size, transform)
            return
        start = 0
        for images, labels in self.feed.batches(batch_size, transform and self._on_chosen(transform)):
            inside = (self.positions >= start) & (self.positions < start + len(labels))
            places = (self.positions[inside] - start).to(images.device)
            start += len(labels)
            if len(places):
                yield images[places], labels[places]

    def _on_chosen(self, transform: Transform) -> Transform:
        chosen = torch.zeros(self.feed.size, dtype=torch.bool)
        chosen[self.positions] = True

        def change(images: Tensor, index: Tensor) -> Tensor:
            places = chosen.to(index.device)[index].nonzero()[:, 0]
            if not len(places):
                return images
            changed = transform(images[places], index[places])
            whole = images.to(changed.dtype)
            whole[places] = changed
            return whole

        return change

    def _streamed(
        self, feed: StreamingEval, batch_size: int, transform: Transform | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        cuts = self.positions.split(batch_size)
        requests = [Request(cut.numpy()) for cut in cuts]
        for cut, images in zip(cuts, feed.loader.answers(requests), strict=True):
            if transform is not None:
                images = checked(transform(images, cut.to(images.device)), images.shape)
            yield images, feed.labels[cut].to(images.device, non_blocking=True)
