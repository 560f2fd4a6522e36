"""The named random streams of a run. All of them hang off the seed; the method never enters a shared stream."""

from __future__ import annotations

from methods.ops.keys import Key

INITIAL_WEIGHTS = "initial weights"
ORDER = "order"
AUGMENT = "augment"
METHOD = "method"
DROPOUT = "dropout"


def stream(seed: int, name: str, *path: int) -> Key:
    """Key of one stream at one place, such as `stream(seed, ORDER, epoch)`."""
    return Key(seed, name, *path)
