"""Where the corruptions' random numbers come from: their distributions, and what they do not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bench.evals.corruption_ops import blur, digital, frost_pictures, library, noise, severities, weather
from bench.evals.corruption_ops.library import corrupt

ALL = (*severities.STANDARD, *severities.EXTRA)
SMALLEST = 1e-4
"""Fixed draws: each test either always passes or always fails, and a right generator fails one in 10,000."""


def flat(level: int, count: int, size: int = 32) -> Tensor:
    return torch.full((count, 3, size, size), level, dtype=torch.uint8)


def photos(count: int, size: int = 32) -> Tensor:
    generator = np.random.default_rng(8)
    coarse = torch.from_numpy(generator.integers(0, 256, (count, 3, 8, 8)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").to(torch.uint8)


def captured(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, corruption: str, severity: int, count: int, size: int = 32
) -> list[Tensor]:
    """The draws that `corrupt` hands to an operation."""
    seen: list[Tensor] = []

    def record(images: Tensor, entry: Any, *draws: Tensor) -> Tensor:
        seen.extend(draws)
        return images

    monkeypatch.setattr(module, name, record)
    monkeypatch.setattr(library, "CPU_CHUNK", 2**30)
    corrupt(flat(0, count, size), torch.arange(count), corruption, severity, 0)
    return seen


def is_normal(values: Tensor) -> bool:
    return stats.kstest(values.flatten().double().numpy(), "norm").pvalue > SMALLEST


def is_uniform(values: Tensor, low: float, high: float) -> bool:
    assert low <= values.min()
    assert values.max() < high
    return stats.kstest(values.flatten().double().numpy(), "uniform", (low, high - low)).pvalue > SMALLEST


def are_equally_likely(values: Tensor, choices: int) -> bool:
    counts = np.bincount(values.flatten().numpy(), minlength=choices)
    assert len(counts) == choices
    return stats.chisquare(counts).pvalue > SMALLEST


def is_uncorrelated(left: Tensor, right: Tensor) -> bool:
    correlation = np.corrcoef(left.flatten().double().numpy(), right.flatten().double().numpy())[0, 1]
    return abs(correlation) < 4.5 / left.numel() ** 0.5


@pytest.mark.parametrize("corruption", ["gaussian_noise", "speckle_noise"])
def test_additive_noise_is_normal_and_independent(monkeypatch: pytest.MonkeyPatch, corruption: str) -> None:
    (values,) = captured(monkeypatch, noise, corruption, corruption, 3, 40)
    assert values.shape == (40, 3, 32, 32)
    assert is_normal(values)
    assert is_uncorrelated(values[:, 0], values[:, 1])
    assert is_uncorrelated(values[1:], values[:-1])
    assert is_uncorrelated(values[..., 1:], values[..., :-1])
    assert is_uncorrelated(values[:, :, 1:], values[:, :, :-1])


@pytest.mark.parametrize("level", [0, 1, 17, 128, 255])
@pytest.mark.parametrize(("size", "severity"), [(32, 1), (32, 5), (224, 5)])
def test_shot_noise_is_poisson(level: int, size: int, severity: int) -> None:
    photons = severities.strength("shot_noise", severity, size)
    count = 30 if size == 32 else 1
    found = corrupt(flat(level, count, size), torch.arange(count), "shot_noise", severity, 0).flatten()
    counts = np.arange(photons * 3 + 40)
    mass = stats.poisson.pmf(counts, level / 255 * photons)
    expected = np.bincount((np.clip(counts / photons, 0, 1) * 255).astype(int), mass, minlength=256)[:256] * len(found)
    observed = np.bincount(found.numpy(), minlength=256)
    assert observed[expected == 0].sum() == 0
    enough = expected >= 8
    if level == 0:
        assert (found == 0).all()
    else:
        rest = (observed[~enough].sum(), expected[~enough].sum())
        both = np.array([*zip(observed[enough], expected[enough], strict=True), *([rest] if rest[1] > 4 else [])])
        assert stats.chisquare(both[:, 0], both[:, 1] * both[:, 0].sum() / both[:, 1].sum()).pvalue > SMALLEST


@pytest.mark.parametrize("severity", [1, 5])
def test_impulse_noise_hits_its_share_half_black_half_white(severity: int) -> None:
    amount = severities.strength("impulse_noise", severity, 32)
    found = corrupt(flat(90, 60), torch.arange(60), "impulse_noise", severity, 0)
    counts = np.bincount(found.flatten().numpy(), minlength=256)
    expected = np.array([amount / 2, 1 - amount, amount / 2]) * found.numel()
    assert counts[[0, 90, 255]].sum() == found.numel()
    assert stats.chisquare(counts[[0, 90, 255]], expected).pvalue > SMALLEST
    assert is_uncorrelated((found[:, 0] != 90).float(), (found[:, 1] != 90).float())


@pytest.mark.parametrize(("size", "severity"), [(32, 5), (64, 5), (224, 4), (224, 5)])
def test_glass_offsets_never_reach_plus_delta(monkeypatch: pytest.MonkeyPatch, size: int, severity: int) -> None:
    _, reach, rounds = severities.strength("glass_blur", severity, size)
    count = 30 if size == 32 else 2
    (offsets,) = captured(monkeypatch, blur, "glass_blur", "glass_blur", severity, count, size)
    assert offsets.shape == (count, rounds, size, size, 2)
    assert are_equally_likely(offsets[..., 0] + reach, 2 * reach)
    assert are_equally_likely((offsets[..., 0] + reach) * 2 * reach + offsets[..., 1] + reach, 4 * reach**2)


def test_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    (motion,) = captured(monkeypatch, blur, "motion_blur", "motion_blur", 2, 3000)
    assert is_uniform(motion, -45, 45)
    flakes, wind = captured(monkeypatch, weather, "snow", "snow", 2, 1000)
    assert is_uniform(wind, -135, -45)
    assert is_normal(flakes)
    assert flakes.shape == (1000, 32, 32)
    assert is_uncorrelated(flakes.mean(dim=(1, 2)), wind)


def test_clouds_and_deformation_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    (clouds,) = captured(monkeypatch, weather, "fog", "fog", 1, 2, 224)
    assert clouds.shape == (2, 256, 256)
    assert is_uniform(clouds, -1, 1)
    corners, field = captured(monkeypatch, digital, "elastic_transform", "elastic_transform", 1, 500)
    assert is_uniform(corners, -1, 1)
    assert is_uniform(field[:50], -1, 1)
    assert is_uncorrelated(field[:, 0], field[:, 1])


def test_spatter_field_is_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    (field,) = captured(monkeypatch, library, "spatter", "spatter", 1, 40)
    assert is_normal(field)


def test_frost_crops_come_from_anywhere_in_five_pictures() -> None:
    draws = library.ImageDraws(library.Key(0), torch.arange(400))
    choice, corner = draws.integers("picture", 5, 1)[:, 0], draws.uniform("corner", 2)
    assert are_equally_likely(choice, 5)
    crops = frost_pictures.frost_crops(0.2, 32, choice, corner)
    pictures = frost_pictures.frost_pictures(0.2)
    assert pictures.shape == (5, 3, 80, 120)
    for place in range(0, 400, 40):
        top, left = int(corner[place, 0] * (80 - 32)), int(corner[place, 1] * (120 - 32))
        expected = pictures[choice[place], :, top : top + 32, left : left + 32]
        assert torch.equal(crops[place], expected)


def test_frost_pictures_have_the_spread_of_frost() -> None:
    pictures = frost_pictures.frost_pictures(1.0).double()
    assert pictures.shape == (5, 3, 400, 600)
    means = pictures.mean(dim=(2, 3))
    assert means[:, 2].gt(means[:, 0]).all(), "frost is bluish"
    assert pictures.std(dim=(2, 3)).min() > 12
    assert len({tuple(row) for row in means.round().tolist()}) == 5


@pytest.mark.parametrize("corruption", ALL)
def test_batch_size_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch, corruption: str) -> None:
    images, index = photos(23), torch.arange(100, 123)
    whole = corrupt(images, index, corruption, 5, 1)
    assert whole.shape == images.shape
    assert whole.dtype == torch.uint8
    monkeypatch.setattr(library, "CPU_CHUNK", 5 * 3 * 32 * 32)
    assert torch.equal(corrupt(images, index, corruption, 5, 1), whole)
    order = torch.tensor([20, 3, 11])
    assert torch.equal(corrupt(images[order], index[order], corruption, 5, 1), whole[order])


@pytest.mark.parametrize("corruption", sorted(set(ALL) - {"defocus_blur", "zoom_blur", "brightness", "contrast"}))
def test_seed_and_position_decide(corruption: str) -> None:
    without_draws = {"gaussian_blur", "pixelate", "jpeg_compression", "saturate"}
    image = photos(1)
    first = corrupt(image, torch.tensor([4]), corruption, 5, 0)
    again = corrupt(image, torch.tensor([4]), corruption, 5, 0)
    assert torch.equal(first, again)
    for other in (
        corrupt(image, torch.tensor([5]), corruption, 5, 0),
        corrupt(image, torch.tensor([4]), corruption, 5, 1),
    ):
        assert torch.equal(first, other) == (corruption in without_draws)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("corruption", ALL)
def test_severities_grow(corruption: str, size: int) -> None:
    """Mean change over photographs' stand-ins rises from severity 1 to 5 (not step by step: the tables do not)."""
    images = photos(16, size)
    change: Callable[[int], float] = lambda severity: (  # noqa: E731
        (corrupt(images, torch.arange(16), corruption, severity, 0).float() - images.float()).abs().mean().item()
    )
    if corruption not in ("elastic_transform", "saturate"):
        assert change(5) > change(1)
    assert change(1) > 0.05


def test_global_random_states_are_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    for corruption in ALL:
        corrupt(photos(2), torch.arange(2), corruption, 2, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
