"""Means of a step's named scalars, gathered on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class RunningMeans:
    """Means of named scalars that stay on the device until they are asked for; one kernel a step, however many names.

    Sums are float32, in the order in which the scalars came.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}

    def add(self, scalars: dict[str, Tensor], weight: float = 1) -> None:
        """Count one value () of each name in, all on one device; names may come and go with the branch."""
        for name, value in scalars.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros((), device=value.device)
                self._counts[name] = 0
            self._counts[name] += weight
        # sums have memory of their own, since a CUDA graph writes its next result into that of the values
        sums = [self._sums[name] for name in scalars]
        values = [value.detach().float() for value in scalars.values()]
        if weight != 1:
            values = [weight * value for value in values]
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

    def on_host(self) -> dict[str, Any]:
        """The same with sums on the CPU, to be told to other processes; waits for the device."""
        state = self.state_dict()
        return {**state, "sums": {name: total.cpu() for name, total in state["sums"].items()}}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from a state_dict on a device."""
        self._sums = {name: total.to(device) for name, total in state["sums"].items()}
        self._counts = dict(state["counts"])


def joined(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The state_dict of the means over all that went into several."""
    total: dict[str, Any] = {"sums": {}, "counts": {}}
    for state in states:
        for kind, values in total.items():
            for name, value in state[kind].items():
                values[name] = values[name] + value if name in values else value
    return total
