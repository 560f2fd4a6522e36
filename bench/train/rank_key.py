"""The key of a rank's draws: what is drawn once a step is the same on all ranks, what is drawn image by image is not.

Methods know nothing of ranks. What tells the two apart is the form of a draw: a single number (the branch, the depth,
lam) is the step's; several numbers at once (a permutation, a box's centre, a lam for each image) are the rank's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from methods.ops.keys import Key


class RankKey(Key):
    """A key whose generators give single numbers from its own stream and arrays from that of a rank.

    Arrays of one element count as single numbers, so a rank must have two images or more.
    """

    __slots__ = ("rank",)

    def __init__(self, *path: int | str, rank: int) -> None:
        super().__init__(*path)
        self.rank = rank

    def fold(self, *parts: int | str) -> RankKey:
        """The key of a sub-stream, for the same rank."""
        return RankKey(*self.path, *parts, rank=self.rank)

    def integer(self) -> int:
        """A number in [0, 2**63) that stands for this key and rank."""
        return Key(*self.path, "rank", self.rank).integer()

    def generator(self) -> Any:
        """A fresh generator with the drawing methods of NumPy's."""
        return RankGenerator(super().generator(), Key(*self.path, "rank", self.rank).generator())


class RankGenerator:
    """Draws as NumPy's generator does: single numbers from `shared`, arrays from `own`.

    A draw of an array leaves `shared` where it was, so that parts of different size stay in step.
    """

    def __init__(self, shared: np.random.Generator, own: np.random.Generator) -> None:
        self._shared, self._own = shared, own

    def __getattr__(self, name: str) -> Any:
        shared, own = getattr(self._shared, name), getattr(self._own, name)

        def draw(*arguments: Any, **options: Any) -> Any:
            drawn = own(*arguments, **options)
            return drawn if np.size(drawn) > 1 else shared(*arguments, **options)

        return draw
