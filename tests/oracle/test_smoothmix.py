"""SmoothMix against a loop over images and pixels, and the expected share in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import Tensor

from methods import smoothmix
from methods.api import BatchShape
from methods.ops.keys import Key
from methods.smoothmix import SmoothMix, gaussian_masks
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    take_step,
)
from tests.oracle.mixing_checks import normalise, photographs, ready, shape_of

KEYS = [Key("smoothmix", number) for number in range(8)]
CASES = settings(max_examples=25, deadline=None, database=None, derandomize=True)


def slow_mask(point: list[float], sigma: float, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            distance = math.dist((row + 0.5, column + 0.5), point)
            mask[row, column] = math.exp(-(distance**2) / (2 * sigma**2))
    return mask


@CASES
@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 11), st.integers(1, 11), st.booleans())
def test_images_equal_a_loop(size: int, channels: int, height: int, width: int, each: bool) -> None:
    check_images(SmoothMix(lam_per="sample" if each else "batch"), photographs(size, channels, height, width))


def check_images(method: SmoothMix, pictures: Tensor) -> None:
    images = normalise(pictures)
    size, _, height, width = images.shape
    method, recorder = ready(method, images)  # type: ignore[assignment]
    draws = method.draw(Key("loop", size, height), shape_of(images))
    _, seen, parts = take_step(method, recorder, images, torch.arange(size) % 5, draws)
    kept = []
    for image, partner in enumerate(draws["permutation"].tolist()):
        own = image if method.lam_per == "sample" else 0
        mask = slow_mask(draws["point"][own].tolist(), draws["sigma"][own].item(), height, width)
        expected = (1 - mask) * images[image].numpy() + mask * images[partner].numpy()
        np.testing.assert_allclose(seen[image].numpy(), expected, rtol=0, atol=1e-5)
        kept.append(1 - mask.mean())
    assert parts["share_kept"].item() == pytest.approx(np.mean(kept), abs=1e-5)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12)])
def test_labels_follow_pixels(lam_per: str, shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(SmoothMix(lam_per=lam_per), shape, KEYS)


def test_point_and_sigma_are_uniform() -> None:
    draws = SmoothMix(lam_per="sample").draw(Key("uniform"), BatchShape(4000, 3, 20, 50))
    for values, low, high in (
        (draws["point"][:, 0], 0, 20),
        (draws["point"][:, 1], 0, 50),
        (draws["sigma"], 5, 10),
    ):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean().item() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * 4000)


def test_mean_share_kept() -> None:
    """Over a unit square the mean of the mask is the square of s sqrt(2 pi) erf(1 / (s sqrt 2)) - 2 s^2 (1 - exp(-1 /
    (2 s^2))), the mean of exp(-(u - v)^2 / (2 s^2)) over u and v in [0, 1]; s runs from 1/4 to 1/2."""

    def along(s: float) -> float:
        return s * math.sqrt(2 * math.pi) * math.erf(1 / (s * math.sqrt(2))) - 2 * s * s * (1 - math.exp(-0.5 / s**2))

    expected = 1 - integrate.quad(lambda s: along(s) ** 2, 0.25, 0.5)[0] / 0.25
    assert expected == pytest.approx(0.571, abs=5e-4)
    draws = SmoothMix(lam_per="sample").draw(Key("mean"), BatchShape(10000, 3, 24, 24))
    shares = 1 - gaussian_masks(draws["point"], draws["sigma"], 24, 24).mean((1, 2, 3))
    assert abs(shares.mean().item() - expected) < 4 * shares.std().item() / 100


def test_compiles_to_one_graph() -> None:
    check_compiles_to_one_graph(SmoothMix(), photographs(3, 3, 8, 8), KEYS[:4])


def test_sigmas_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma_low 0\.5 is above sigma_high 0\.2"):
        SmoothMix(sigma_low=0.5, sigma_high=0.2)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_wrong_labels_are_caught(lam_per: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(smoothmix, lambda: SmoothMix(lam_per=lam_per), (6, 1, 12, 9), monkeypatch)


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = smoothmix.gaussian_masks
    faults: dict[str, Any] = {
        "mask of the other image": lambda *given: 1 - right(*given),
        "not halved": lambda point, sigma, *size: right(point, sigma / 2**0.5, *size),
        "row and column swapped": lambda point, sigma, *size: right(point.flip(1), sigma, *size),
        "corner instead of centre": lambda point, sigma, *size: right(point + 0.5, sigma, *size),
    }
    for fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(smoothmix, "gaussian_masks", fault)
            with pytest.raises(AssertionError):
                check_images(SmoothMix(), photographs(3, 3, 9, 12))
