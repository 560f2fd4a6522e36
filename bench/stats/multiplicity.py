"""p values corrected for how many tests were looked at."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjusted p values by Holm (1979): rejecting those below alpha keeps the chance of any false one below alpha.

    The k-th smallest of m is multiplied by m - k + 1; none is smaller than one before it, nor larger than 1. It holds
    for tests that depend on each other in any way, as those against a common base do.
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
