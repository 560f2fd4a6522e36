"""A slowly moving copy of the trained network."""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from methods.api import Backbone


def make_teacher(backbone: Backbone) -> nn.Module:
    """A copy of the backbone with no gradient, no dropout and no stochastic depth.

    In train mode its BatchNorms normalise by the batch and leave their running statistics alone; `follow` copies those
    of the trained network.
    """
    teacher = copy.deepcopy(cast(nn.Module, backbone)).requires_grad_(False)
    for module in teacher.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
        for name in ("drop_prob", "drop_rate"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    for parameter in teacher.parameters():
        parameter.grad = None
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, backbone: Backbone, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * backbone for all parameters; buffers are copied."""
    network = cast(nn.Module, backbone)
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        list(teacher.parameters()), [p.detach() for p in network.parameters()], 1 - momentum
    )
    for own, its in zip(teacher.buffers(), network.buffers(), strict=True):
        own.copy_(its)


def cosine_momentum(first: float, last: float, progress: float, constant_until: float = 0.1) -> float:
    """`first` for the first tenth of the training, then last - (last - first) (1 + cos(pi progress)) / 2.

    progress in [0, 1]. The schedule of the released AutoMix code; it jumps a little where the constant part ends.
    """
    if progress < constant_until:
        return first
    return last - (last - first) * (1 + math.cos(math.pi * progress)) / 2
