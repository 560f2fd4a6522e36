"""What the processes of a shared run do together at its end, and what those do that keep no record."""

from __future__ import annotations

from typing import Any

import torch

from bench.data.feeds import EvalFeed
from bench.evals.api import Context, Transform
from bench.evals.forward import Predictions, predict, predictions
from bench.train.collective import dealt_back
from bench.train.ranks import Ranks

BATCH_SIZE = 512


class NoRecord:
    """Stands for the record in processes that do not write it."""

    def __enter__(self) -> NoRecord:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def append(self, kind: str, **fields: Any) -> None:
        """Nothing is written."""


class DealtFeed:
    """The batches of an EvalFeed that fall to one of several processes."""

    def __init__(self, feed: EvalFeed, ranks: Ranks) -> None:
        self._feed, self._dealt = feed, (ranks.process, ranks.processes)
        self.size, self.labels, self.native = feed.size, feed.labels, feed.native

    def batches(self, batch_size: int, transform: Transform | None = None) -> Any:
        """As of EvalFeed, every processes-th batch."""
        return self._feed.batches(batch_size, transform, self._dealt)


def shared_predictions(context: Context, ranks: Ranks) -> Predictions:
    """What the network says about the test split, in its order; each image went through one process.

    Batches are those of a single process, so are the logits, bit for bit.
    """
    if ranks.processes == 1:
        return predictions(context, batch_size=BATCH_SIZE)
    feed = context.splits["test"]
    own: list[Any] = []
    if ranks.process * BATCH_SIZE < feed.size:
        found = predict(context, DealtFeed(feed, ranks), None, BATCH_SIZE)
        own = list(zip(found.logits.split(BATCH_SIZE), found.labels.split(BATCH_SIZE), strict=True))
    logits, labels = zip(*dealt_back(ranks, own), strict=True)
    return Predictions(torch.cat(logits), torch.cat(labels))
