"""Small feeds and networks for the evaluators' tests."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.cifar_nets import CifarNet
from bench.data.normalise import Normaliser
from bench.data.resident import ResidentEval
from bench.evals.api import Context, Metric
from methods.api import Method, Task


def random_feed(size: int, channels: int, side: int, classes: int) -> ResidentEval:
    generator = np.random.default_rng(5)
    images = torch.from_numpy(generator.integers(0, 256, (size, channels, side, side), dtype=np.uint8))
    return ResidentEval(images, torch.from_numpy(generator.integers(0, classes, size)), side)


def random_backbone(classes: int, side: int, seed: int = 0, *, final_norm: bool = True) -> TimmBackbone:
    """A tiny net whose answers depend on the image: three stages, the last one side / 4 wide, odd norm statistics."""
    with torch.random.fork_rng(devices=[]):
        model = CifarNet((4, 4, 6, 8), 1, final_norm, classes, 3)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            fan = max(1, parameter[0].numel())
            parameter.data = torch.randn(parameter.shape, generator=generator) / fan**0.5
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=generator)
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) / 4)
    return TimmBackbone(model, classes, 3, side)


def context_of(
    feed: ResidentEval, classes: int, net: nn.Module, method: Method | None = None, erm: nn.Module | None = None
) -> Context:
    normalise = Normaliser((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    if method is not None:
        criterion = _criterion
        method.setup(net, Task(classes, criterion, (3, feed.resolution, feed.resolution)))
    others = {} if erm is None else {"erm": erm}
    return Context(
        net, normalise, {"test": feed}, classes, torch.device("cpu"), seed=0, others=others, method=method
    )  # fmt: skip


def by_key(metrics: list[Metric]) -> dict[str, float | None]:
    return {metric.key: metric.value for metric in metrics}


def _criterion(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
