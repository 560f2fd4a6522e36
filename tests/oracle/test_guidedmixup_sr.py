"""GuidedMixup with spectral residuals against NumPy's FFT, SciPy's filters and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from methods import guidedmixup_sr
from methods.api import BatchShape, mixed_loss
from methods.guidedmixup_sr import GuidedMixupSR, smooth_saliency
from methods.ops.farthest_cycle import farthest_cycle
from methods.ops.keys import Key
from methods.ops.spectral_residual import gaussian_blur, spectral_residual
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, shape_of
from tests.oracle.saliency_checks import check_mean_pixel_is_the_label, set_up, step

KEYS = [Key("guidedmixup", number) for number in range(5)]
CASES = settings(max_examples=25, deadline=None, database=None, derandomize=True)


def slow_residual(image: Tensor) -> np.ndarray:
    """One image (C, H, W) in float64."""
    weights = np.array([0.2989, 0.587, 0.114]) if len(image) == 3 else np.full(len(image), 1 / len(image))
    spectrum = np.fft.fft2(np.tensordot(weights, image.double().numpy(), 1))
    log_amplitude = np.log(np.abs(spectrum))
    residual = log_amplitude - ndimage.uniform_filter(log_amplitude, 3, mode="nearest")
    return np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum))))


def slow_saliency(image: Tensor) -> np.ndarray:
    saliency = slow_residual(image)
    for _ in range(2):
        saliency = ndimage.gaussian_filter(saliency, 3.0, radius=3, mode="mirror")
    return saliency / saliency.sum()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 15, 22), (3, 64, 40)])
def test_saliency_equals_numpy_and_scipy(shape: tuple[int, int, int]) -> None:
    images = normalise(photographs(3, *shape))
    expected = np.stack([slow_residual(image) for image in images])
    np.testing.assert_allclose(spectral_residual(images).numpy(), expected, rtol=2e-3, atol=1e-4 * expected.max())
    smooth = np.stack([slow_saliency(image) for image in images])
    np.testing.assert_allclose(smooth_saliency(images).numpy(), smooth, rtol=2e-3, atol=0)


def test_large_images_are_reduced_to_128_rows() -> None:
    images = normalise(photographs(2, 3, 150, 200))
    expected = spectral_residual(tv.resize(images, [128, 128], antialias=True))
    torch.testing.assert_close(spectral_residual(images), expected, rtol=1e-2, atol=1e-4 * float(expected.max()))
    maps = smooth_saliency(images)
    assert maps.shape == (2, 150, 200)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(2))


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 20, 11)])
def test_blur_is_that_of_torchvision(shape: tuple[int, int, int]) -> None:
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gaussian_blur(maps), tv.gaussian_blur(maps, [7, 7], [3.0, 3.0]))


def test_blur_of_small_maps_repeats_the_edge() -> None:
    maps = torch.rand(1, 3, 6, generator=torch.Generator().manual_seed(0))
    expected = ndimage.gaussian_filter(maps[0].double().numpy(), 3.0, radius=3, mode="nearest")
    np.testing.assert_allclose(gaussian_blur(maps)[0].numpy(), expected, rtol=1e-5)


def slow_cycle(distances: np.ndarray) -> list[int]:
    size = len(distances)
    left = distances.copy()
    np.fill_diagonal(left, -np.inf)
    first, last = divmod(int(left.argmax()), size)
    partners, visited = {first: last}, {first, last}
    while len(visited) < size:
        best = max((i for i in range(size) if i not in visited), key=lambda i: distances[last, i])
        partners[last] = best
        last = best
        visited.add(best)
    partners[last] = first
    return [partners[i] for i in range(size)]


@CASES
@given(st.integers(1, 9), st.integers(0, 10**6))
def test_pairing_equals_a_loop_and_is_one_cycle(size: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(size, 3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    partners = farthest_cycle(torch.from_numpy(distances)).tolist()
    assert partners == slow_cycle(distances)
    place, visited = 0, set()
    for _ in range(size):
        place = partners[place]
        visited.add(place)
    assert len(visited) == size


def test_pairing_of_equal_images_is_one_cycle() -> None:
    assert sorted(farthest_cycle(torch.zeros(6, 6)).tolist()) == list(range(6))


def check_images_equal_a_loop() -> None:
    images, labels = normalise(photographs(5, 3, 16, 20)), torch.tensor([0, 4, 2, 2, 1])
    method, net = set_up(GuidedMixupSR(probability=1.0), images)
    loss, mixed = step(method, net, (images,), labels, method.draw(KEYS[0], shape_of(images)))
    maps = np.stack([slow_saliency(image) for image in images])
    partners = slow_cycle(np.linalg.norm((maps[:, None] - maps[None]).reshape(5, 5, -1), axis=2))
    expected, losses, kept = torch.zeros_like(images), [], []
    for i, j in enumerate(partners):
        weight = torch.from_numpy(maps[i] / (maps[i] + maps[j])).float()
        expected[i] = weight * images[i] + (1 - weight) * images[j]
        logits, lam = net(expected[i : i + 1]), weight.mean()
        losses.append(lam * cross_entropy(logits, labels[[i]]) + (1 - lam) * cross_entropy(logits, labels[[j]]))
        kept.append(lam)
    torch.testing.assert_close(mixed, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(loss.total, torch.cat(losses).mean(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(loss.parts["share_kept"], torch.stack(kept).mean(), rtol=1e-3, atol=1e-4)


def test_images_equal_a_loop() -> None:
    check_images_equal_a_loop()


@pytest.mark.parametrize("pairing", ["greedy", "random"])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 4, 12), (7, 3, 16, 8)])
def test_label_weight_is_the_mean_pixel(pairing: str, shape: tuple[int, int, int, int]) -> None:
    check_mean_pixel_is_the_label(GuidedMixupSR(pairing=pairing, probability=1.0), shape, KEYS)  # type: ignore[arg-type]


def test_mean_share_of_a_cycle_is_one_half() -> None:
    """Weights of a pair sum to 1 at each pixel; under random pairs own and partner can be exchanged."""
    images, labels = normalise(photographs(8, 3, 16, 16)), torch.arange(8) % 5
    method, net = set_up(GuidedMixupSR(pairing="random", probability=1.0), images)
    shares = [
        step(method, net, (images,), labels, method.draw(Key(n), shape_of(images)))[0].parts["share_kept"].item()
        for n in range(60)
    ]
    assert abs(np.mean(shares) - 0.5) < 4 * np.std(shares) / 60**0.5


def test_clean_batches_are_plain_training() -> None:
    images, labels = normalise(photographs(4, 3, 8, 12)), torch.tensor([0, 1, 2, 3])
    method, net = set_up(GuidedMixupSR(probability=0.0), images)
    loss, mixed = step(method, net, (images,), labels, method.draw(KEYS[0], shape_of(images)))
    assert torch.equal(mixed, images)
    assert loss.total.item() == cross_entropy(net(images), labels).mean().item()
    assert loss.parts["share_kept"] == 1


def test_half_of_the_batches_are_mixed() -> None:
    branches = [GuidedMixupSR().draw(Key(n), BatchShape(2, 3, 8, 8)).branch for n in range(400)]
    assert abs(branches.count("mixed") - 200) < 4 * 10


@pytest.mark.parametrize(
    "fault",
    [
        ("gaussian_blur", lambda maps: gaussian_blur(maps, sigma=2.0)),
        ("spectral_residual", lambda images: spectral_residual(images) ** 2),
        ("farthest_cycle", lambda distances: farthest_cycle(-distances)),
        ("farthest_cycle", lambda distances: farthest_cycle(distances).argsort()),
        ("mixed_loss", lambda c, x, y, p, lam: mixed_loss(c, x, y, p, 1 - lam)),
    ],
)
def test_a_fault_is_caught(fault: tuple[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guidedmixup_sr, *fault)
    with pytest.raises(AssertionError):
        check_images_equal_a_loop()
