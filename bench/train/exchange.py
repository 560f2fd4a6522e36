"""Gradients, means and states between the processes that share a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.train.collective import from_all
from bench.train.means import RunningMeans, joined
from bench.train.rank_state import RankState
from bench.train.ranks import Ranks
from methods.api import Loss

Step = Callable[..., Loss]


def shared_step(step: Step) -> Step:
    """The step whose backward pass leaves the mean of the processes' gradients.

    Buffers are not DDP's to copy, since a method's history belongs to its rank. Which weights have a gradient hangs on
    the branch, so they are looked for in every step.
    """
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # renamed after torch 2.9
    options: dict[str, Any] = {"find_unused_parameters": True, name: False}
    return DistributedDataParallel(cast(nn.Module, step), **options)


def exchanging(step: Step, now: bool) -> AbstractContextManager[Any]:
    """For the forward and backward pass of one micro-batch: gradients are exchanged with a step's last one."""
    return step.no_sync() if isinstance(step, DistributedDataParallel) and not now else nullcontext()


def means_of_all(ranks: Ranks, means: RunningMeans) -> dict[str, float]:
    """The means over what all processes counted in. All must call it."""
    if ranks.processes == 1:
        return means.values()
    together = RunningMeans()
    together.load_state_dict(joined(from_all(ranks, means.on_host())), torch.device("cpu"))
    return together.values()


def states_of_all(ranks: Ranks, means: RunningMeans, rank_state: RankState) -> dict[str, Any]:
    """What the processes and the ranks have each for themselves, for a checkpoint. All must call it."""
    told = from_all(ranks, (means.on_host(), rank_state.own()))
    return {
        "processes": [counted for counted, _ in told],
        "ranks": {rank: own for _, owns in told for rank, own in owns.items()},
    }


def own_means(ranks: Ranks, processes: list[dict[str, Any]]) -> dict[str, Any]:
    """The state of this process's means out of `states_of_all`; all of it with the first one where their number is
    another now."""
    if len(processes) == ranks.processes:
        return processes[ranks.process]
    return joined(processes) if ranks.first else RunningMeans().state_dict()
