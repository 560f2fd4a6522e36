"""What data hold, told once for all runs of a suite."""

from __future__ import annotations

import functools

from bench.data.facts import DataFacts, describe
from bench.spec import DataSpec


@functools.lru_cache(maxsize=256)
def known_facts(data: DataSpec) -> DataFacts:
    """The facts of data whose digest is filled in, so that other data have another key. BadInput as `describe`."""
    return describe(data)
