"""Checks that saliency-guided methods share: guided losses over recorded images, and labels that follow pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.api import Batch, Draws, FeatureMap, Loss, Method, Task, guided
from methods.ops.keys import Key
from tests.oracle.mixing_checks import CLASSES, cross_entropy, shape_of


class PooledNet(nn.Module):
    """One convolution, average pooling and a linear layer, in the form of `methods.api.Backbone`; keeps its inputs."""

    num_classes = 2 * CLASSES
    stages = ("map",)

    def __init__(self, channels: int = 3, width: int = 6, stride: int = 4, reads_map: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.kernel = nn.Parameter(torch.randn(width, channels, stride, stride, generator=generator) / stride)
        self.weight = nn.Parameter(torch.randn(2 * CLASSES, width, generator=generator))
        self.bias = nn.Parameter(torch.randn(2 * CLASSES, generator=generator))
        self.stride, self.reads_map = stride, reads_map
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, edit: dict[int, Callable[[FeatureMap], FeatureMap]] | None = None) -> Tensor:
        self.seen.append(images.detach())
        features = self.features(images)
        return self.head(edit[-1](features) if edit else features)

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        return FeatureMap(functional.conv2d(images, self.kernel, stride=self.stride).relu(), None)

    def head(self, features: FeatureMap) -> Tensor:
        pooled = features.spatial.mean((2, 3)) if self.reads_map else features.spatial.mean((2, 3)) * 0
        return pooled @ self.weight.T + self.bias

    def reduction(self, stage: int = -1) -> int:
        return self.stride

    def probe(self) -> AbstractContextManager[None]:
        return nullcontext()


def set_up(method: Method, images: Tensor, criterion: Any = cross_entropy, **options: Any) -> tuple[Method, PooledNet]:
    net = PooledNet(images.shape[1], **options)
    method.setup(net, Task(CLASSES, criterion, tuple(images.shape[1:])))  # type: ignore[arg-type]
    return method, net


def step(
    method: Method, net: PooledNet, views: tuple[Tensor, ...], labels: Tensor, draws: Draws
) -> tuple[Loss, Tensor]:
    """The loss of a guided step, and the images that went through the network for it."""
    batch = Batch(views, labels)
    told = guided(method, net, batch, draws)
    net.seen.clear()
    loss = method.loss(net, batch, told)
    return loss, net.seen.pop()


def check_mean_pixel_is_the_label(method: Method, shape: tuple[int, int, int, int], keys: Iterable[Key]) -> None:
    """Constant images of grey level = label: the mean pixel of each mixed image is its mixed label."""
    size = shape[0]
    labels = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    images = (labels * 20).to(torch.uint8).view(-1, 1, 1, 1).expand(shape).clone()
    importance = torch.linspace(1, 2, size) ** 2
    for key in keys:
        method, net = set_up(method, images, lambda logits, labels: importance * labels + 0 * logits.sum(1))
        draws = method.draw(key, shape_of(images))
        views = method.views(images, lambda pixels: pixels.float() / 20, draws)
        loss, mixed = step(method, net, views, labels, draws)
        torch.testing.assert_close(
            loss.total.detach(), (importance * mixed.mean((1, 2, 3))).mean(), rtol=1e-5, atol=1e-5
        )
