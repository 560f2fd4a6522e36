"""What ranks keep apart: running statistics within a step, and what a method remembers of its own images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.train.collective import add_up
from bench.train.ranks import Ranks
from methods.api import Method


class RankState:
    """The state of the ranks of this process.

    BatchNorm's running statistics: each rank moves those of the step's start by its own batches; after the step all
    have the mean over the ranks. A method's other persistent buffers (its history) belong to a rank for good.
    """

    def __init__(self, step: nn.Module, method: Method, ranks: Ranks) -> None:
        self._ranks, self._method = ranks, method
        self._at_work = ranks.own[0]
        self._names = _own_names(method) if ranks.world_size > 1 else []
        self._kept = {rank: _copies(self._now()) for rank in ranks.own}
        norms = _tracking(step) if ranks.world_size > 1 else []
        buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._counts = [buffer for buffer in buffers if not buffer.is_floating_point()]
        self._begun: list[Tensor] = []
        self._sums: list[Tensor] = []

    def begin(self, rank: int) -> None:
        """Make this rank the one at work; called at the start of each part of a step."""
        several = len(self._ranks.own) > 1
        if several and not self._begun:
            self._begun = [buffer.clone() for buffer in (*self._statistics, *self._counts)]
        if rank != self._at_work:
            self._leave()
            self._enter(rank)
            for buffer, begun in zip((*self._statistics, *self._counts), self._begun, strict=True):
                buffer.copy_(begun)

    def finish(self) -> None:
        """All parts of a step are done: mean statistics for all ranks, the process's first rank at work."""
        self._leave()
        for buffer, total in zip(self._statistics, add_up(self._ranks, self._sums), strict=True):
            buffer.copy_(total / self._ranks.world_size)
        self._sums, self._begun = [], []
        self._enter(self._ranks.own[0])

    def own(self) -> dict[int, dict[str, Tensor]]:
        """By rank of this process the method's buffers that are its own, on the CPU. To be asked between steps."""
        kept = {**self._kept, self._at_work: self._now()}
        return {rank: {name: tensor.cpu() for name, tensor in _copies(kept[rank]).items()} for rank in kept}

    def load(self, own: dict[int, dict[str, Tensor]], device: torch.device) -> None:
        """Take back what `own` gave in any process; ranks of other processes are passed over."""
        for rank in self._ranks.own:
            self._kept[rank] = {name: tensor.to(device) for name, tensor in own[rank].items()}
        self._enter(self._ranks.own[0])

    def _leave(self) -> None:
        self._kept[self._at_work] = self._now()
        now = [buffer.clone() for buffer in self._statistics]
        self._sums = [a + b for a, b in zip(self._sums, now, strict=True)] if self._sums else now

    def _enter(self, rank: int) -> None:
        self._at_work = rank
        for name, tensor in self._kept[rank].items():
            module, _, leaf = name.rpartition(".")
            setattr(self._method.get_submodule(module), leaf, tensor)

    def _now(self) -> dict[str, Tensor]:
        return {name: self._method.get_buffer(name) for name in self._names}


def _tracking(step: nn.Module) -> list[_BatchNorm]:
    """BatchNorms with running statistics that may differ between ranks."""
    norms = [module for module in step.modules() if isinstance(module, _BatchNorm)]
    return [
        norm
        for norm in norms
        if norm.track_running_stats and norm.running_mean is not None and not isinstance(norm, nn.SyncBatchNorm)
    ]


def _own_names(method: Method) -> list[str]:
    """The method's buffers outside of BatchNorms, but for those that are the same in every run (not persistent)."""
    norms = [f"{name}." for name, module in method.named_modules() if isinstance(module, _BatchNorm)]
    names = method.state_dict().keys() & {name for name, _ in method.named_buffers()}
    return sorted(name for name in names if not name.startswith(tuple(norms)))


def _copies(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in buffers.items()}
