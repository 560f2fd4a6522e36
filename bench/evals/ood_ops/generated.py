"""Images that show nothing: noise, textures and blobs, drawn on the device, each fixed by its number."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.evals.corruption_ops.operators import apply_separable, gaussian_operator
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

Shape = tuple[int, int, int]

WAVES = 6
BLOB_SHARE, BLOB_LEVEL = 0.7, 0.75
BLOB_SIGMA = 1.5 / 32
"""In image sides: 1.5 pixels at 32."""


def generate(kind: str, seed: int, positions: Tensor, shape: Shape) -> Tensor:
    """uint8 images (B, C, H, W) of a kind, the same for the same seed, position (B,) int64 and shape (C, H, W).

    They come on the device of `positions`.
    """
    return GENERATORS[kind](ImageDraws(Key(seed, "ood", kind), positions), shape)


def gaussian_noise(draws: ImageDraws, shape: Shape) -> Tensor:
    """Independent normal values of mean 127.5 and standard deviation 63.75 (1/2 and 1/4 of the range), clipped
    (Hendrycks et al. 2019, Outlier Exposure)."""
    return _levels(127.5 + 63.75 * draws.normal("noise", *shape).double())


def uniform_noise(draws: ImageDraws, shape: Shape) -> Tensor:
    """Independent levels, each of 0 .. 255 equally likely."""
    return draws.integers("noise", 256, *shape).to(torch.uint8)


def textures(draws: ImageDraws, shape: Shape) -> Tensor:
    """Sums of six coloured gratings of random frequency, angle and phase, from soft to hard-edged.

    A frequency lies between one cycle an image and one in three pixels, evenly in octaves.
    """
    channels, height, width = shape
    side = max(height, width)
    device = draws.index.device
    rows = torch.arange(height, dtype=torch.float64, device=device)[:, None] / side
    columns = torch.arange(width, dtype=torch.float64, device=device) / side
    octaves = math.log2(max(side / 3, 2))
    cycles = torch.exp2(octaves * draws.uniform("frequency", WAVES, 1, 1).double())
    angle = math.pi * draws.uniform("angle", WAVES, 1, 1).double()
    phase = 2 * math.pi * draws.uniform("phase", WAVES, 1, 1).double()
    colour = draws.normal("colour", WAVES, channels, 1, 1).double()
    field = torch.zeros(draws.size, channels, height, width, dtype=torch.float64, device=device)
    for wave in range(WAVES):
        along = rows * angle[:, wave].sin() + columns * angle[:, wave].cos()
        grating = torch.cos(2 * math.pi * cycles[:, wave] * along + phase[:, wave])
        field += colour[:, wave] * grating[:, None]
    field /= (colour.square().sum(dim=1) / 2).sqrt()
    hardness = torch.exp2(4 * draws.uniform("hardness", 1, 1, 1).double() - 1)
    mean = 64 + 128 * draws.uniform("mean", channels, 1, 1).double()
    contrast = 32 + 64 * draws.uniform("contrast", 1, 1, 1).double()
    return _levels(mean + contrast * torch.tanh(hardness * field))


def blobs(draws: ImageDraws, shape: Shape) -> Tensor:
    """Amorphous shapes with definite edges, after Outlier Exposure: each value is 1 with probability 0.7, all is
    smoothed, and what falls below 0.75 becomes black."""
    ones = (draws.uniform("ones", *shape) < BLOB_SHARE).double()
    rows, columns = (gaussian_operator(side, BLOB_SIGMA * side, ones) for side in shape[1:])
    smoothed = apply_separable(ones, rows, columns)
    return _levels(255 * smoothed.where(smoothed >= BLOB_LEVEL, 0))


GENERATORS: dict[str, Callable[[ImageDraws, Shape], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "uniform_noise": uniform_noise,
    "textures": textures,
    "blobs": blobs,
}


def _levels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
