"""Noisy Feature Mixup one value at a time: the slow reference of what a network is given at each depth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from methods.api import Batch, Draws, Edit, FeatureMap, Task
from methods.nfm import NoisyFeatureMixup
from methods.ops.keys import Key
from methods.ops.white_noise import normal, uniform
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, shape_of


class Stages(nn.Module):
    """Three stages that halve the values and keep the shape, with two prefix tokens; remembers the images given, what
    came after an edit, and the logits. Images have at least CLASSES columns."""

    num_classes = CLASSES
    stages = ("one", "two", "three")

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []
        self.seen: list[FeatureMap] = []
        self.logits: list[Tensor] = []

    def forward(self, images: Tensor, edit: Mapping[int, Edit] | None = None) -> Tensor:
        self.given.append(images)
        features = FeatureMap(images, images[:, :, 0, :2].transpose(1, 2))
        for stage in range(3):
            features = FeatureMap(features.spatial / 2, features.prefix / 2)  # type: ignore[operator]
            if edit and stage in edit:
                features = edit[stage](features)
                self.seen.append(features)
        tokens = features.prefix.sum((1, 2))[:, None]  # type: ignore[union-attr]
        self.logits.append(features.spatial.mean(1)[:, 0, :CLASSES] + tokens)
        return self.logits[-1]


def check_depth(
    method: NoisyFeatureMixup, depth: int, shape: tuple[int, int, int, int], key: Key, lam: float | None = None
) -> None:
    """What is mixed at a depth, 0 for the images, equals a loop over values in float64, and the loss a loop over images
    on the network's own logits. `lam`, if any, takes the place of the drawn one."""
    images, labels, backbone = normalise(photographs(*shape)), torch.arange(shape[0]) % CLASSES, Stages()
    method.setup(backbone, Task(CLASSES, cross_entropy, shape[1:]))  # type: ignore[arg-type]
    tensors = dict(method.draw(key, shape_of(images)).tensors)
    if lam is not None:
        tensors["lam"] = torch.full_like(tensors["lam"], lam)
    draws = Draws(f"stage{depth}" if depth else "input", tensors)
    loss = method.loss(backbone, Batch((images,), labels), draws)  # type: ignore[arg-type]
    weights = np.broadcast_to(tensors["lam"].double().numpy(), shape[:1])
    partners = tensors["permutation"].tolist()
    tokens = images[:, :, 0, :2].transpose(1, 2)
    before = [images / 2**depth, tokens / 2**depth] if depth else [images]
    after = backbone.seen[-1] if depth else backbone.given
    for part, values in enumerate(before):
        expected = slow_mix(values, weights, partners, tensors["levels"], tensors["seeds"][2 * part : 2 * part + 2])
        np.testing.assert_allclose(after[part].numpy(), expected, rtol=0, atol=1e-5)  # type: ignore[union-attr]

    total, log_p = 0.0, torch.log_softmax(backbone.logits[-1].double(), 1)
    for image, partner in enumerate(partners):
        total -= weights[image] * log_p[image, labels[image]].item()
        total -= (1 - weights[image]) * log_p[image, labels[partner]].item()
    np.testing.assert_allclose(loss.total.item(), total / shape[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss.parts["share_kept"].item(), weights.mean(), rtol=1e-6)


def slow_mix(values: Tensor, weights: np.ndarray, partners: list[int], levels: Tensor, seeds: Tensor) -> np.ndarray:
    """Each of the values (B, ...) mixed with its image's partner, scaled and shifted by its own noise."""
    u, n = uniform(seeds[0], values.shape).numpy(), normal(seeds[1], values.shape).numpy()
    scale, shift = levels.tolist()
    expected = np.empty(values.shape)
    for place in np.ndindex(*values.shape):
        lam, partner = weights[place[0]], (partners[place[0]], *place[1:])
        mixed = lam * values[place].item() + (1 - lam) * values[partner].item()
        expected[place] = (1 + scale * (2 * u[place] - 1)) * mixed + shift * n[place]
    return expected
