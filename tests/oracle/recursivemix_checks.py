"""RecursiveMix with loops over images, pixels and dense soft labels in float64: the slow reference of several steps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.api import Batch, Draws, Edit, FeatureMap, Loss, Task, guided
from methods.ops.keys import Key
from methods.recursivemix import RecursiveMix
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, shape_of


class Pooled(nn.Module):
    """Features are means of 2 x 2 pixels, logits a linear map of their mean; keeps the batches that it sees."""

    num_classes = CLASSES
    stages = ("only",)

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, channels, generator=torch.Generator().manual_seed(2)))
        self.seen: list[Tensor] = []

    def features(self, images: Tensor, stage: int = -1) -> FeatureMap:
        self.seen.append(images.detach())
        return FeatureMap(F.avg_pool2d(images, 2), None)

    def head(self, features: FeatureMap) -> Tensor:
        return features.spatial.mean((2, 3)) @ self.weight.T

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        return self.head(self.features(images))

    def width(self, stage: int = -1) -> int:
        return self.weight.shape[1]

    @contextlib.contextmanager
    def probe(self) -> Iterator[None]:
        yield


def batch_of(size: int, channels: int, height: int, width: int, seed: int) -> Batch:
    labels = torch.randint(CLASSES, (size,), generator=torch.Generator().manual_seed(seed))
    return Batch((normalise(photographs(size, channels, height, width, seed)),), labels)


def batches(size: int = 4) -> list[Batch]:
    return [batch_of(size, 3, 12, 16, seed) for seed in range(4)]


def set_up(channels: int = 3, height: int = 12, width: int = 16, **settings: Any) -> tuple[RecursiveMix, Pooled]:
    method, backbone = RecursiveMix(**settings), Pooled(channels)
    method.setup(backbone, Task(CLASSES, cross_entropy, (channels, height, width)))  # type: ignore[arg-type]
    return method, backbone


def step(method: RecursiveMix, backbone: Pooled, batch: Batch, drawn: Key | Draws) -> Loss:
    """A whole step by a key or by given draws."""
    draws = drawn if isinstance(drawn, Draws) else method.draw(drawn, shape_of(batch.views[0]))
    loss = method.loss(backbone, batch, guided(method, backbone, batch, draws))  # type: ignore[arg-type]
    method.remember(batch, loss.carry)
    return loss


def slow_region(features: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """RoIAlign with one bin, for features (C, h, w) and a box in positions of the feature map."""
    rows, columns = math.ceil(bottom - top), math.ceil(right - left)
    total = np.zeros(len(features))
    for i in range(rows):
        for j in range(columns):
            y = top - 0.5 + (i + 0.5) * (bottom - top) / rows
            x = left - 0.5 + (j + 0.5) * (right - left) / columns
            y, x = max(y, 0.0), max(x, 0.0)
            upper, first = min(int(y), features.shape[1] - 1), min(int(x), features.shape[2] - 1)
            lower, second = min(upper + 1, features.shape[1] - 1), min(first + 1, features.shape[2] - 1)
            down, along = min(y - upper, 1.0) * (lower > upper), min(x - first, 1.0) * (second > first)
            total += (1 - down) * ((1 - along) * features[:, upper, first] + along * features[:, upper, second])
            total += down * ((1 - along) * features[:, lower, first] + along * features[:, lower, second])
    return total / max(rows * columns, 1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def check_steps(
    sizes: Sequence[int] = (4, 4, 4, 4),
    channels: int = 3,
    height: int = 12,
    width: int = 16,
    box: Sequence[int] | None = None,
    key: Key = Key("steps"),  # noqa: B008 - a key holds no state
    **settings: Any,
) -> None:
    """Steps with batches of these sizes: images, losses and shares, with dense soft labels and no history but that of
    this loop. height and width are even; `box`, if any, takes the place of the drawn ones."""
    method, backbone = set_up(channels, height, width, **settings)
    weight = backbone.weight.detach().double().numpy()
    head = {name: value.detach().double().numpy() for name, value in method.region_head.named_parameters()}
    past: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, size in enumerate(sizes):
        batch = batch_of(size, channels, height, width, number)
        draws = method.draw(key.fold(number), shape_of(batch.views[0]))
        if box is not None:
            draws = Draws(tensors={**draws.tensors, "box": torch.tensor(box).expand_as(draws["box"])})
        boxes = draws["box"].expand(size, 4).tolist()
        backbone.seen.clear()
        loss = step(method, backbone, batch, draws)
        total, now, shares = 0.0, [], []
        for image, (own, label) in enumerate(zip(batch.views[0].double().numpy(), batch.labels.tolist(), strict=True)):
            top, bottom, left, right = boxes[image]
            lam = 1 - (bottom - top) * (right - left) / (height * width)
            shares.append(lam)
            if len(past) >= size:
                before, before_label, before_prediction = past[image]
            else:
                before, before_label = own, np.eye(CLASSES)[label]
                before_prediction = np.exp(log_softmax(weight @ own.mean((1, 2))))
            mixed = own.copy()
            for row in range(top, bottom):
                for column in range(left, right):
                    source = (row - top) * height // (bottom - top), (column - left) * width // (right - left)
                    mixed[:, row, column] = before[:, source[0], source[1]]
            np.testing.assert_allclose(backbone.seen[-1][image].numpy(), mixed, rtol=0, atol=1e-5)
            soft = lam * np.eye(CLASSES)[label] + (1 - lam) * before_label
            logits = log_softmax(weight @ mixed.mean((1, 2)))
            features = mixed.reshape(channels, height // 2, 2, width // 2, 2).mean((2, 4))
            region = head["weight"] @ slow_region(features, top / 2, bottom / 2, left / 2, right / 2) + head["bias"]
            total -= soft @ logits + method.omega * (1 - lam) * (before_prediction @ log_softmax(region))
            now.append((mixed, soft, np.exp(logits)))
        past = now
        check_kept_labels(loss, [soft for _, soft, _ in now])
        assert loss.total.item() == pytest.approx(total / size, rel=1e-4)
        assert loss.parts["share_kept"].item() == pytest.approx(np.mean(shares), abs=1e-6)


def check_kept_labels(loss: Loss, soft: list[np.ndarray]) -> None:
    """The labels and weights that a step hands on are the dense soft labels, and the weights are shares."""
    labels, weights = loss.carry["past_labels"], loss.carry["past_weights"]
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(len(soft)))
    for image, expected in enumerate(soft):
        dense = np.bincount(labels[:, image].numpy(), weights[:, image].double().numpy(), CLASSES)
        np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-5)
