"""What an evaluator of a classifier's logits cannot do without, checked before or while it works."""

from __future__ import annotations

from bench.errors import BadInput
from bench.evals.api import Context, EvalFeed
from bench.evals.forward import Predictions, predict


def require_classes(evaluator: str, context: Context) -> None:
    """BadInput for a network with fewer than two classes."""
    if context.num_classes < 2:
        raise BadInput(f"{evaluator} needs a network with two or more classes, this one has {context.num_classes}")


def require_images(evaluator: str, name: str, feed: EvalFeed) -> None:
    """BadInput for a split or set without images."""
    if feed.size == 0:
        raise BadInput(f"{evaluator}: {name} has no images")


def finite_predictions(evaluator: str, name: str, context: Context, feed: EvalFeed, batch_size: int) -> Predictions:
    """Logits of every image of a feed, one pass. BadInput where one is infinite or not a number."""
    predicted = predict(context, feed, None, batch_size)
    broken = int((~predicted.logits.isfinite()).any(dim=1).sum())
    if broken:
        raise BadInput(
            f"{evaluator}: the network's logits are not finite on {broken} of {feed.size} images of {name}; "
            "nothing can be said about its confidence"
        )
    return predicted
