"""Any corruption at any severity for a batch, each image's draws fixed by (seed, corruption, severity, position)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.errors import BadInput
from bench.evals.corruption_ops import blur, colour, digital, noise, weather
from bench.evals.corruption_ops.frost_pictures import frost_crops
from bench.evals.corruption_ops.severities import ELASTIC_UNIT, FROST_SCALE, strength
from bench.evals.corruption_ops.spatter import spatter
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

CPU_CHUNK = 2**17
"""Channel values worked on at once on a CPU, so that intermediate results stay in its caches."""
DEVICE_CHUNK = 2**26
"""The same on other devices; bounds memory (256 MiB a float32 tensor)."""


def corrupt(images: Tensor, index: Tensor, corruption: str, severity: int, seed: int) -> Tensor:
    """Corrupted uint8 images. images uint8 (B, 3, S, S), S one of 32, 64, 224; index (B,): positions in the split.

    BadInput for other shapes, an unknown corruption or severity, or a size without a published severity table.
    """
    check_shape((images.shape[1], images.shape[2], images.shape[3]))
    entry = strength(corruption, severity, images.shape[2])
    key = Key(seed, "corruption", corruption, severity)
    limit = CPU_CHUNK if images.device.type == "cpu" else DEVICE_CHUNK
    count = max(1, limit // images[0].numel())
    if images.device.type == "mps":  # it has no float64
        return corrupt(images.cpu(), index.cpu(), corruption, severity, seed).to(images.device)
    parts = [
        _CORRUPTIONS[corruption](part, entry, ImageDraws(key, places))
        for part, places in zip(images.split(count), index.to(images.device).split(count), strict=True)
    ]
    return torch.cat(parts)


def check_shape(shape: tuple[int, int, int] | None) -> None:
    """BadInput unless images (C, H, W) are square, of 3 channels and of a size with a published severity table."""
    if shape is None or shape[0] != 3 or shape[1] != shape[2]:
        shown = "of many sizes" if shape is None else f"of {shape[0]} channels and {shape[1]}x{shape[2]} px"
        raise BadInput(f"the published corruptions are for square images of 3 channels, these are {shown}")
    strength("brightness", 1, shape[1])


def _gaussian_noise(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return noise.gaussian_noise(images, entry, draws.normal("noise", *images.shape[1:]))


def _speckle_noise(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return noise.speckle_noise(images, entry, draws.normal("noise", *images.shape[1:]))


def _shot_noise(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return noise.shot_noise(images, entry, draws.words("photons", *images.shape[1:]))


def _impulse_noise(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return noise.impulse_noise(images, entry, draws.words("impulses", *images.shape[1:]))


def _glass_blur(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    _, reach, rounds = entry
    choice = draws.integers("offsets", (2 * reach) ** 2, rounds, *images.shape[2:])
    offsets = torch.stack((choice // (2 * reach), choice % (2 * reach)), dim=4) - reach
    return blur.glass_blur(images, entry, offsets)


def _motion_blur(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return blur.motion_blur(images, entry, draws.uniform("angle", 1)[:, 0] * 90 - 45)


def _snow(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    degrees = draws.uniform("angle", 1)[:, 0] * 90 - 135
    return weather.snow(images, entry, draws.normal("flakes", *images.shape[2:]), degrees)


def _frost(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    size = images.shape[2]
    choice = draws.integers("picture", 5, 1)[:, 0]
    return weather.frost(images, entry, frost_crops(FROST_SCALE[size], size, choice, draws.uniform("corner", 2)))


def _fog(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    side = 1 << (images.shape[2] - 1).bit_length()
    return weather.fog(images, entry, draws.uniform("clouds", side, side).mul_(2).sub_(1))


def _elastic_transform(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    size = images.shape[2]
    alpha, sigma, affine = (share * ELASTIC_UNIT[size] for share in entry)
    corners = draws.uniform("corners", 3, 2).mul_(2).sub_(1)
    field = draws.uniform("field", 2, size, size).mul_(2).sub_(1)
    return digital.elastic_transform(images, (alpha, sigma, affine), corners, field)


def _spatter(images: Tensor, entry: Any, draws: ImageDraws) -> Tensor:
    return spatter(images, entry, draws.normal("liquid", *images.shape[2:]))


def _without_draws(operation: Callable[[Tensor, Any], Tensor]) -> Callable[[Tensor, Any, ImageDraws], Tensor]:
    return lambda images, entry, draws: operation(images, entry)


_CORRUPTIONS: dict[str, Callable[[Tensor, Any, ImageDraws], Tensor]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "speckle_noise": _speckle_noise,
    "gaussian_blur": _without_draws(blur.gaussian_blur),
    "glass_blur": _glass_blur,
    "defocus_blur": _without_draws(blur.defocus_blur),
    "motion_blur": _motion_blur,
    "zoom_blur": _without_draws(blur.zoom_blur),
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _without_draws(colour.brightness),
    "contrast": _without_draws(colour.contrast),
    "saturate": _without_draws(colour.saturate),
    "jpeg_compression": _without_draws(digital.jpeg_compression),
    "pixelate": _without_draws(digital.pixelate),
    "elastic_transform": _elastic_transform,
    "spatter": _spatter,
}
