"""Autocontrast, equalize, posterize and solarize of a batch, each exactly as PIL does it image by image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from torch import Tensor

from methods.ops.tone_curves import autocontrast, cut, equalize
from tests.oracle.mixing_checks import photographs
from tests.oracle.pil_operations import to_pil, to_tensor

Curve = Callable[[Tensor], Tensor]
PilOperation = Callable[[Image.Image], Image.Image]
CURVES: list[tuple[Curve, PilOperation]] = [(autocontrast, ImageOps.autocontrast), (equalize, ImageOps.equalize)]


def degenerate(channels: int) -> Tensor:
    """One level; two levels; one pixel off; all levels once; so few pixels that equalize has no step."""
    generator = torch.Generator().manual_seed(0)
    images = torch.full((5, channels, 16, 16), 77, dtype=torch.uint8)
    images[1, :, :3] = 200
    images[2, :, 0, 0] = 78
    images[3] = torch.arange(256).view(16, 16)
    images[4] = torch.randint(100, 103, images[4].shape, generator=generator)
    return images


def digits() -> Tensor:
    images = torch.from_numpy(load_digits().images[:12] * 255 / 16).to(torch.uint8)[:, None]
    return images.repeat_interleave(4, 2).repeat_interleave(4, 3)


IMAGES = {
    "photographs": photographs(6, 3, 32, 32),
    "odd sizes": photographs(4, 3, 33, 51, seed=1),
    "grey": photographs(4, 1, 47, 30, seed=2),
    "large": photographs(2, 3, 224, 160, seed=3),
    "digits": digits(),
    "tiny": photographs(3, 3, 8, 8, seed=4),
    "degenerate": degenerate(3),
    "degenerate grey": degenerate(1),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(("curve", "operation"), CURVES)
def test_curve_equals_pil(name: str, curve: Curve, operation: PilOperation) -> None:
    images = IMAGES[name]
    changed = curve(images)
    expected = torch.stack([to_tensor(operation(to_pil(image))) for image in images])
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("name", ["photographs", "grey", "degenerate"])
def test_posterize_equals_pil(name: str) -> None:
    for image in IMAGES[name]:
        batch = image.expand(8, *image.shape)
        settings_ = torch.tensor([[256 - 2 ** (8 - bits), 255] for bits in range(1, 9)], dtype=torch.uint8)
        expected = torch.stack([to_tensor(ImageOps.posterize(to_pil(image), bits)) for bits in range(1, 9)])
        assert torch.equal(cut(batch, settings_), expected)


@pytest.mark.parametrize("name", ["photographs", "grey", "degenerate"])
def test_solarize_equals_pil(name: str) -> None:
    for image in IMAGES[name]:
        thresholds = [1, 2, 100, 128, 180, 255, 256]
        settings_ = torch.tensor([[255, threshold - 1] for threshold in thresholds], dtype=torch.uint8)
        expected = torch.stack([to_tensor(ImageOps.solarize(to_pil(image), threshold)) for threshold in thresholds])
        assert torch.equal(cut(image.expand(7, *image.shape), settings_), expected)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 256), st.integers(0, 2**31))
def test_curves_equal_pil_on_random_histograms(height: int, width: int, levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = int(torch.randint(257 - levels, (), generator=generator))
    share = torch.rand(3, height, width, generator=generator) ** 3
    image = (first + share * levels).to(torch.uint8)[None]
    for curve, operation in CURVES:
        assert torch.equal(curve(image)[0], to_tensor(operation(to_pil(image[0]))))
