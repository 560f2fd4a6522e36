"""Means of a step's named scalars, gathered on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Means of named scalars that stay on the device until they are asked for; two kernels a step, however many names.

    Sums are float32, in the order in which the scalars came.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._sums = torch.empty(0)

    @torch.no_grad()
    def add(self, scalars: dict[str, Tensor]) -> None:
        """Count one value () of each name in, all on one device; names may come and go with the branch."""
        for name in scalars:
            self._counts[name] = self._counts.get(name, 0) + 1
        first = next(iter(scalars.values()))
        absent = first if len(scalars) == len(self._counts) else torch.zeros((), device=first.device)
        # a copy, since a CUDA graph writes its next result into the same memory
        values = torch.stack([scalars.get(name, absent).float() for name in self._counts])
        known = len(self._sums)
        if known == len(values):
            self._sums += values
        else:
            values[:known] += self._sums.to(values.device)
            self._sums = values

    def values(self) -> dict[str, float]:
        """The means so far; waits for the device, once."""
        sums: list[float] = self._sums.tolist()
        return {name: total / count for total, (name, count) in zip(sums, self._counts.items(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts, to continue the means in a resumed epoch."""
        return {"sums": dict(zip(self._counts, self._sums.clone().unbind(), strict=True)), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from a state_dict on a device."""
        self._counts = dict(state["counts"])
        sums = [state["sums"][name] for name in self._counts]
        self._sums = torch.stack(sums).to(device) if sums else torch.empty(0)
