"""A method's draws, made for several steps at once and brought to the device together."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from bench.rng import METHOD, stream
from bench.train.rank_key import RankKey
from bench.train.transfer import move_draws
from methods.api import BatchShape, Draws, Method

Place = tuple[int, ...]
"""Epoch, step and micro-batch, from 0; and the rank where several share the run."""
Shape = tuple[int, int, int, int]
"""(B, C, H, W) of a micro-batch."""


class Drawing:
    """The draws of a run. Each hangs on its place and shape alone, so what is prepared changes no number."""

    def __init__(self, method: Method, seed: int, epochs: int, steps_per_epoch: int, device: torch.device) -> None:
        self._method, self._seed, self._device = method, seed, device
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self._prepared: dict[tuple[Place, Shape], Draws] = {}

    def prepare(self, wanted: Iterable[tuple[Place, Shape]]) -> None:
        """Draw for these places now, in place of what was prepared before: one copy to the device for all of them."""
        wanted = list(wanted)
        made = move_draws([self._draw(place, shape) for place, shape in wanted], self._device)
        self._prepared = dict(zip(wanted, made, strict=True))

    def at(self, place: Place, shape: Shape) -> Draws:
        """The draws of a micro-batch, on the device."""
        prepared = self._prepared.get((place, shape))
        return move_draws([self._draw(place, shape)], self._device)[0] if prepared is None else prepared

    def _draw(self, place: Place, shape: Shape) -> Draws:
        epoch, step, micro, *rank = place
        progress = (epoch + step / self._steps_per_epoch) / self._epochs
        key = stream(self._seed, METHOD, epoch, step, micro)
        if rank:
            key = RankKey(*key.path, rank=rank[0])
        return self._method.draw(key, BatchShape(*shape, progress))
