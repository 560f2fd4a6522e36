"""Equal parts of records, such as specs and provenance, kept once: 100,000 runs then fit into memory."""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from typing import Any, cast

_WITHOUT_REFERENCES = 2
"""Version of marshal's format in which equal values give equal bytes; they are keys and never read back."""


class Shared:
    """One object for equal JSON values; what it hands out must not be changed. values: all of them, by number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, value: Any) -> int:
        """The place of this value in `values`."""
        key = marshal.dumps(value, _WITHOUT_REFERENCES)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.values)
            self.values.append(value)
        return found

    def one(self, value: Any) -> Any:
        """The object that stands for all values equal to this one."""
        return self.values[self.number(value)]

    def sections(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A mapping whose values are shared where they are mappings or lists."""
        return {name: self.one(item) if isinstance(item, dict | list) else item for name, item in value.items()}

    def numbered(self, value: Mapping[str, Any]) -> list[Any]:
        """A mapping as JSON: what stands in it itself, and the numbers of its mappings and lists."""
        nested = {name: self.number(item) for name, item in value.items() if isinstance(item, dict | list)}
        return [{name: item for name, item in value.items() if name not in nested}, nested]


def restored(numbered: list[Any], values: Sequence[Any]) -> dict[str, Any]:
    """The mapping that `Shared.numbered` gave; values: what the numbers stand for."""
    plain, nested = numbered
    return {**plain, **{name: values[number] for name, number in nested.items()}}


def mapping(value: Any) -> dict[str, Any]:
    """An object of a record; empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
