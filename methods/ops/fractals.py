"""Colourful fractals drawn from a fixed key: attractors of random iterated function systems.

They stand in for a set of downloaded pictures. Nothing here depends on data or on a run.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from methods.ops.keys import Key

MAPS, POINTS, WARM_UP, STEPS = 4, 1000, 16, 40
"""Affine maps a system, points that run side by side, iterations before and while points are counted."""
SIDE = 96
"""Pixels a side at which fractals are drawn."""


def fractal_pictures(count: int, channels: int, height: int, width: int) -> Tensor:
    """`count` different pictures, (count, channels, height, width) uint8; one channel is the mean of three."""
    drawn = torch.from_numpy(_drawn(count)).float()
    sized = F.interpolate(drawn, (height, width), mode="bilinear", antialias=True)
    if channels == 1:
        sized = sized.mean(1, keepdim=True)
    return sized.round().clamp(0, 255).to(torch.uint8)


@functools.lru_cache(maxsize=2)
def _drawn(count: int) -> NDArray[np.uint8]:
    """(count, 3, SIDE, SIDE): each point has the mean colour of the maps that it went through lately."""
    generator = Key("fractal pictures", 1).generator()
    linear, shift, chances = _systems(generator, count)
    colours = generator.random((count, MAPS, 3))
    system = np.arange(count)[:, None]
    places = np.zeros((count, POINTS, 2))
    colour = np.full((count, POINTS, 3), 0.5)
    sums = np.zeros((count * SIDE * SIDE, 4))
    low, high = np.empty((count, 1, 2)), np.empty((count, 1, 2))
    for step in range(WARM_UP + STEPS):
        chosen = (generator.random((count, POINTS, 1)) > chances[:, None]).sum(2)
        places = np.einsum("npij,npj->npi", linear[system, chosen], places) + shift[system, chosen]
        colour = (colour + colours[system, chosen]) / 2
        if step < WARM_UP:
            low, high = (np.quantile(places, share, axis=1, keepdims=True) for share in (0.02, 0.98))
            continue
        pixel = np.floor((places - low) / np.maximum(high - low, 1e-9) * SIDE).astype(np.int64)
        inside = ((pixel >= 0) & (pixel < SIDE)).all(2)
        cell = ((system * SIDE + pixel[..., 0]) * SIDE + pixel[..., 1])[inside]
        for channel in range(3):
            sums[:, channel] += np.bincount(cell, colour[..., channel][inside], minlength=len(sums))
        sums[:, 3] += np.bincount(cell, minlength=len(sums))
    density = sums[:, 3].reshape(count, -1)
    bright = np.log1p(density) / np.log1p(density.max(1, keepdims=True))
    ink = (sums[:, :3] / np.maximum(sums[:, 3:], 1)).reshape(count, -1, 3)
    paper = generator.random((count, 1, 3))
    picture = paper + np.sqrt(bright)[..., None] * (ink - paper)
    return np.round(255 * picture).astype(np.uint8).reshape(count, SIDE, SIDE, 3).transpose(0, 3, 1, 2).copy()


def _systems(
    generator: np.random.Generator, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Maps x -> linear @ x + shift, (count, MAPS, 2, 2) and (count, MAPS, 2), and cumulative chances (count, MAPS - 1).

    Singular values are U(0.25, 0.85), so every map is a contraction; its chance is proportional to its area.
    """
    before, after = _rotations(generator, count), _rotations(generator, count)
    stretch = generator.uniform(0.25, 0.85, (count, MAPS, 2))
    linear = before @ (stretch[..., None] * after)
    shift = generator.uniform(-1, 1, (count, MAPS, 2))
    chances = stretch.prod(2) / stretch.prod(2).sum(1, keepdims=True)
    return linear, shift, chances.cumsum(1)[:, :-1]


def _rotations(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    angle = generator.uniform(0, 2 * np.pi, (count, MAPS))
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
