"""The module whose forward is the method's loss: what is compiled and what DDP wraps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.spec import ProtocolSpec
from methods.api import Batch, Draws, Loss, Method


class TrainStep(nn.Module):
    """forward(views, labels, branch, tensors) is `method.loss` on the backbone. branch is static: one graph each."""

    def __init__(self, backbone: TimmBackbone, method: Method) -> None:
        super().__init__()
        self.backbone = backbone
        self.method = method

    def forward(self, views: tuple[Tensor, ...], labels: Tensor, branch: str, tensors: Mapping[str, Tensor]) -> Loss:
        """The loss of one micro-batch."""
        return self.method.loss(self.backbone, Batch(views, labels), Draws(branch, tensors))


CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")
"""Modes in which torch records the step as CUDA graphs on a GPU: what such a step gives is overwritten by the next."""


def compiled_step(step: TrainStep, mode: str) -> Callable[..., Loss]:
    """`step` under torch.compile in the protocol's mode, or as it is for "none"; a graph break is an error.

    "default": inductor's kernels. "reduce-overhead": these as CUDA graphs, for steps that wait for launches.
    "max-autotune": the same with a search for the fastest kernels. "aot_eager": traced and differentiated ahead, with
    torch's own kernels; needs no C++ compiler. On a CPU inductor needs one and nothing becomes a CUDA graph.
    """
    if mode == "none":
        return step
    if mode == "aot_eager":
        return torch.compile(step, backend="aot_eager", fullgraph=True, dynamic=False)
    return torch.compile(step, mode=mode, fullgraph=True, dynamic=False)


class Precision:
    """Autocast and loss scaling of a protocol on a device."""

    def __init__(self, protocol: ProtocolSpec, device: torch.device) -> None:
        self.dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[protocol.precision]
        self.device_type = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=protocol.precision == "fp16")

    def autocast(self) -> torch.autocast:
        """The context that the loss is computed in."""
        return torch.autocast(self.device_type, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None)
