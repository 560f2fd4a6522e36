"""FMix against NumPy's Fourier transform in float64 and a sort of single pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods import fmix
from methods.api import Batch, BatchShape
from methods.fmix import FMix
from methods.ops import fourier_mask
from methods.ops.fourier_mask import brightest, draw_spectrum, low_frequency_image
from methods.ops.keys import Key
from tests.oracle.input_method_checks import (
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    check_pixels_come_from_one_image,
    check_plain,
    take_step,
)
from tests.oracle.mixing_checks import normalise, photographs, ready, shape_of

KEYS = [Key("fmix", number) for number in range(10)]
CASES = settings(max_examples=30, deadline=None, database=None, derandomize=True)


def slow_image(spectrum: Tensor, decay: float, height: int, width: int) -> np.ndarray:
    """The inverse transform written out as a sum of waves, in float64."""
    half = spectrum.double().numpy()
    image = np.zeros((height, width))
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    for u in range(height):
        for v in range(width):
            # A real image: frequencies of the other half are the mirrored ones, conjugated.
            mirrored = v > width // 2
            s, t = ((-u) % height, width - v) if mirrored else (u, v)
            f = np.hypot(min(u, height - u) / height, min(v, width - v) / width)
            value = complex(*half[s, t]) / max(f, 1 / max(height, width)) ** decay
            wave = np.exp(2j * np.pi * (u * rows / height + v * columns / width))
            image += ((value.conjugate() if mirrored else value) * wave).real
    return image / (height * width)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (12, 5), (1, 6), (6, 1)])
def test_image_equals_numpy(height: int, width: int) -> None:
    spectrum = draw_spectrum(Key("image", height), height, width)
    ours = low_frequency_image(spectrum, 3.0, width).numpy()
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    damping = np.maximum(np.hypot(rows, columns), 1 / max(height, width)) ** 3
    values = spectrum.double().numpy() @ np.array([1, 1j]) / damping
    expected = np.fft.irfft2(values, (height, width))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("height", "width"), [(6, 7), (5, 4)])
def test_image_equals_a_sum_of_waves(height: int, width: int) -> None:
    """Only the columns that stand for two frequencies each: numpy drops what is not Hermitian in the others."""
    spectrum = draw_spectrum(Key("waves"), height, width)
    spectrum[:, 0] = 0
    if width % 2 == 0:
        spectrum[:, -1] = 0
    expected = slow_image(spectrum, 2.0, height, width)
    ours = low_frequency_image(spectrum, 2.0, width).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@CASES
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 10**6))
def test_mask_holds_the_brightest_pixels(height: int, width: int, share: float, seed: int) -> None:
    image = low_frequency_image(draw_spectrum(Key(seed), height, width), 3.0, width)
    count = round(share * height * width)
    mask = brightest(image, torch.tensor(count))
    expected = np.zeros((height, width), bool)
    for place in sorted(np.ndindex(height, width), key=lambda place: -image[place].item())[:count]:
        expected[place] = True
    np.testing.assert_array_equal(mask.numpy(), expected)


def test_ties_do_not_change_the_count() -> None:
    assert brightest(torch.ones(4, 5), torch.tensor(7)).sum() == 7


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12), (3, 1, 13, 6)])
def test_labels_follow_pixels(shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(FMix(), shape, KEYS)


def test_pixels_come_from_one_image() -> None:
    check_pixels_come_from_one_image(FMix(), normalise(photographs(5, 3, 9, 12)), KEYS)


def test_alpha_zero_is_plain_training_bit_for_bit() -> None:
    check_plain(FMix(alpha=0.0), normalise(photographs(4, 3, 6, 9)), KEYS)


def test_count_is_lam_rounded_up_or_down() -> None:
    shape, ups = BatchShape(2, 1, 7, 9), 0
    for number in range(400):
        key = Key("rounding", number)
        exact = key.fold("lam").generator().beta(1.0, 1.0) * 63
        kept = FMix().draw(key, shape)["kept"].item()
        assert abs(kept - exact) < 1
        ups += kept > exact
    assert 150 < ups < 250


def test_mean_share_kept() -> None:
    kept = [FMix().draw(Key("mean", number), BatchShape(1, 1, 16, 16))["kept"].item() / 256 for number in range(4000)]
    assert abs(np.mean(kept) - 0.5) < 4 * np.std(kept) / 4000**0.5


def test_outlines_are_smooth() -> None:
    """Few neighbours differ at decay 3, about half of them at decay 0."""

    def cuts(decay: float) -> float:
        image = low_frequency_image(draw_spectrum(Key("smooth"), 64, 64), decay, 64)
        mask = brightest(image, torch.tensor(2048))
        return (mask[1:] != mask[:-1]).float().mean().item()

    assert cuts(3.0) < 0.06
    assert abs(cuts(0.0) - 0.5) < 0.05


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(fmix, FMix, (6, 1, 12, 9), monkeypatch)


FAULTS: dict[str, tuple[str, Callable[..., object], Callable[[], None]]] = {
    "darkest pixels": (
        "brightest",
        lambda image, count: brightest(-image, count),
        lambda: check_own_pixels_are_the_brightest(),
    ),
    "one pixel too many": (
        "brightest",
        lambda image, count: brightest(image, count + 1),
        lambda: check_labels_follow_pixels(FMix(), (6, 1, 12, 9), KEYS),
    ),
}


def check_own_pixels_are_the_brightest() -> None:
    images = normalise(photographs(4, 3, 8, 10))
    method, recorder = ready(FMix(), images)
    for key in KEYS:
        draws = method.draw(key, shape_of(images))
        mask = method.guide(recorder, Batch((images,), torch.arange(4)), draws)["mask"]  # type: ignore[arg-type]
        image = low_frequency_image(draws["spectrum"], 3.0, 10)
        assert mask.sum() == draws["kept"]
        if 0 < mask.sum() < 80:
            assert image[mask].min() >= image[~mask].max()
        _, seen, _ = take_step(method, recorder, images, torch.arange(4), draws)
        assert torch.equal(seen[:, :, mask], images[:, :, mask])


def test_own_pixels_are_the_brightest() -> None:
    check_own_pixels_are_the_brightest()


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong, check = FAULTS[fault]
    monkeypatch.setattr(fmix, name, wrong)
    with pytest.raises(AssertionError):
        check()


def test_wrong_frequencies_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.fft.rfftfreq
    monkeypatch.setattr(fourier_mask.torch.fft, "rfftfreq", lambda count, device: 2 * right(count, device=device))
    with pytest.raises(AssertionError):
        test_image_equals_numpy(7, 10)
    with pytest.raises(AssertionError):
        test_image_equals_a_sum_of_waves(6, 7)
