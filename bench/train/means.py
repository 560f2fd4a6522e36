"""Means of a step's named scalars, gathered on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Means of named scalars that stay on the device until they are asked for; one kernel a step, however many names.

    Sums are float32, in the order in which the scalars came.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Count one value () of each name in, all on one device; names may come and go with the branch."""
        for name, value in scalars.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros((), device=value.device)
                self._counts[name] = 0
            self._counts[name] += 1
        # sums have memory of their own, since a CUDA graph writes its next result into that of the values
        sums = [self._sums[name] for name in scalars]
        values = [value.detach().float() for value in scalars.values()]
        torch._foreach_add_(sums, values)  # pyright: ignore[reportPrivateImportUsage]

    def values(self) -> dict[str, float]:
        """The means so far; waits for the device, once."""
        if not self._sums:
            return {}
        sums: list[float] = torch.stack(list(self._sums.values())).tolist()
        return {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts, to continue the means in a resumed epoch."""
        return {"sums": {name: total.clone() for name, total in self._sums.items()}, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from a state_dict on a device."""
        self._sums = {name: total.to(device) for name, total in state["sums"].items()}
        self._counts = dict(state["counts"])
