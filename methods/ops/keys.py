"""Counter-based random keys: the same path gives the same numbers on any device, in any order of calls."""

from __future__ import annotations

import hashlib

import numpy as np


class Key:
    """A point in the tree of random streams, such as `Key(seed, "method", epoch, step)`.

    A key holds no state: asking twice gives the same numbers, and no key disturbs another one or any global
    random state. Parts are integers or strings; `Key(1, "a")` and `Key("1", "a")` differ.
    """

    __slots__ = ("path",)

    def __init__(self, *path: int | str) -> None:
        self.path = path

    def fold(self, *parts: int | str) -> Key:
        """The key of a sub-stream."""
        return Key(*self.path, *parts)

    def integer(self) -> int:
        """A number in [0, 2**63) that stands for this key, to seed other generators with."""
        return int.from_bytes(self._digest()[:8], "little") >> 1

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator (Philox) at the start of this key's stream."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self._digest(), "little")))

    def _digest(self) -> bytes:
        return hashlib.blake2b(repr(self.path).encode(), digest_size=16).digest()

    def __repr__(self) -> str:
        return f"Key{self.path!r}"
