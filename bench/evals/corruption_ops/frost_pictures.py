"""Pictures of frost made by computation, since the photographs of the published sets carry no clear licence.

They share the size class, colours, contrast and spectrum (power about 1 / frequency squared) of the published ones but
are other pictures: results belong under "frost (procedural pictures)".
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from methods.ops.keys import Key

HEIGHT, WIDTH = 400, 600
BRANCH_ANGLE = math.pi / 3
"""Ice is hexagonal: side needles leave a stem at 60 degrees."""
_STYLES = (
    ((78, 149, 166), (27, 16, 15), 150, 0.35),
    ((201, 205, 214), (21, 22, 23), 900, 0.6),
    ((196, 202, 212), (23, 23, 24), 600, 0.6),
    ((138, 153, 165), (28, 28, 30), 500, 0.5),
    ((112, 123, 135), (44, 43, 42), 700, 0.7),
)
"""Mean and sd of red, green and blue; number of crystals; their share of the contrast."""


@functools.lru_cache(maxsize=8)
def frost_pictures(scale: float) -> Tensor:
    """Five pictures (5, 3, height, width) uint8, shrunk bilinearly by `scale` as OpenCV's resize does by default."""
    pictures = torch.from_numpy(np.stack([_picture(number) for number in range(len(_STYLES))]))
    if scale == 1:
        return pictures
    shape = (round(HEIGHT * scale), round(WIDTH * scale))
    small = F.interpolate(pictures.float(), shape, mode="bilinear", align_corners=False, antialias=False)
    return small.round().to(torch.uint8)


def frost_crops(scale: float, size: int, choice: Tensor, corner: Tensor) -> Tensor:
    """A crop (B, 3, size, size) uint8 an image. choice (B,): which picture; corner (B, 2): uniform in [0, 1)."""
    pictures = frost_pictures(scale).to(choice.device)
    room = torch.tensor([pictures.shape[2] - size, pictures.shape[3] - size], device=choice.device)
    top, left = (corner * room).long().unbind(1)
    line = torch.arange(size, device=choice.device)
    rows, columns = (top[:, None] + line)[:, :, None], (left[:, None] + line)[:, None]
    return pictures.permute(0, 2, 3, 1)[choice[:, None, None], rows, columns].permute(0, 3, 1, 2).contiguous()


@functools.lru_cache(maxsize=8)
def _picture(number: int) -> np.ndarray:
    mean, deviation, crystals, share = _STYLES[number]
    generator = Key("frost picture", number).generator()
    ice = _standard(ndimage.gaussian_filter(_crystals(generator, crystals), 0.6))
    relief = _standard(share * ice + (1 - share) * _clouds(generator))
    tint = _clouds(generator)
    levels = [m + sd * (relief + 0.12 * sign * tint) for m, sd, sign in zip(mean, deviation, (-1, 0, 1), strict=True)]
    return np.stack(levels).round().clip(0, 255).astype(np.uint8)


def _clouds(generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise with power 1 / frequency squared, mean 0, sd 1."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH))
    frequency[0, 0] = np.inf
    return _standard(np.fft.irfft2(np.fft.rfft2(generator.normal(size=(HEIGHT, WIDTH))) / frequency, s=(HEIGHT, WIDTH)))


def _crystals(generator: np.random.Generator, count: int) -> np.ndarray:
    """Feathery crystals: a stem each, with needles on both sides that get shorter towards the tip."""
    canvas = np.zeros((HEIGHT, WIDTH))
    for _ in range(count):
        root = generator.uniform((0, 0), (HEIGHT, WIDTH))
        angle, length, light = generator.uniform(0, 2 * math.pi), generator.uniform(15, 90), generator.uniform(-0.6, 1)
        _needle(canvas, root, angle, length, light)
        for place in np.arange(0.1, 1, 4 / length):
            tip = root + place * length * np.array([math.sin(angle), math.cos(angle)])
            for side in (-1, 1):
                _needle(canvas, tip, angle + side * BRANCH_ANGLE, 0.45 * (1 - place) * length, 0.8 * light)
    return canvas


def _needle(canvas: np.ndarray, root: np.ndarray, angle: float, length: float, light: float) -> None:
    along = np.arange(0, length, 0.7)
    rows = (root[0] + along * math.sin(angle)).astype(int)
    columns = (root[1] + along * math.cos(angle)).astype(int)
    inside = (rows >= 0) & (rows < HEIGHT) & (columns >= 0) & (columns < WIDTH)
    canvas[rows[inside], columns[inside]] = light


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
