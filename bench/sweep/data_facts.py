"""What data hold, told once for all runs of a suite."""

from __future__ import annotations

from bench.data.facts import DataFacts, describe
from bench.spec import DataSpec

_known: dict[tuple[str, str | None], DataFacts] = {}


def known_facts(data: DataSpec) -> DataFacts:
    """The facts of data whose digest is filled in, so that other data have another key. BadInput as `describe`."""
    key = data.hashed_text, data.root
    if key not in _known:
        _known[key] = describe(data)
    return _known[key]
