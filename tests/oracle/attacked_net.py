"""A tiny trained network with images to attack, the same in every test process."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = 4
SIDE = 10


@functools.lru_cache(maxsize=1)
def attacked_net() -> tuple[nn.Module, Tensor, Tensor]:
    """The network, 120 pixels (N, 3, 10, 10) in [0, 1] that it has not seen, their labels; nearly all are right."""
    generator = np.random.default_rng(3)
    prototypes = generator.random((CLASSES, 3, SIDE, SIDE))
    labels = generator.integers(0, CLASSES, 320)
    images = 0.5 + 0.25 * (prototypes[labels] - 0.5) + 0.15 * generator.normal(size=(320, 3, SIDE, SIDE))
    pixels, targets = torch.from_numpy(images).float().clamp(0, 1), torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(200, CLASSES)
        )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(pixels[:200]), targets[:200]).backward()
        optimiser.step()
    return net.eval().requires_grad_(False), pixels[200:], targets[200:]


def correct(pixels: Tensor) -> int:
    """How many of the images, attacked or not, the network still classifies rightly."""
    net, _, labels = attacked_net()
    return int((net(pixels).argmax(dim=1) == labels).sum())
