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
        self._wholes: dict[int, dict[str, Any]] = {}

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

    def numbered(self, value: Mapping[str, Any]) -> int:
        """The number of a mapping, kept as what stands in it itself and the numbers of its mappings and lists."""
        nested = {name: self.number(item) for name, item in value.items() if isinstance(item, dict | list)}
        return self.number([{name: item for name, item in value.items() if name not in nested}, nested])

    def whole(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """One mapping for all that are equal to this one, its mappings and lists shared too."""
        return self.restored(self.numbered(value))

    def restored(self, number: int) -> dict[str, Any]:
        """The mapping that `numbered` gave this number."""
        if number not in self._wholes:
            plain, nested = self.values[number]
            self._wholes[number] = {**plain, **{name: self.values[place] for name, place in nested.items()}}
        return self._wholes[number]


class Told:
    """What the numbers of another `Shared` stand for. values: its values, which are now kept in `shared`."""

    def __init__(self, values: Sequence[Any], shared: Shared) -> None:
        self._shared = shared
        self._numbers = [shared.number(value) for value in values]
        self._wholes: dict[int, dict[str, Any]] = {}

    def one(self, number: int) -> Any:
        """The value of this number."""
        return self._shared.values[self._numbers[number]]

    def whole(self, number: int) -> dict[str, Any]:
        """The mapping that the other's `numbered` gave this number."""
        found = self._wholes.get(number)
        if found is None:
            plain, nested = self.one(number)
            own: list[Any] = [plain, {name: self._numbers[place] for name, place in nested.items()}]
            found = self._wholes[number] = self._shared.restored(self._shared.number(own))
        return found


def mapping(value: Any) -> dict[str, Any]:
    """An object of a record; empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
