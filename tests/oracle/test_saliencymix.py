"""SaliencyMix against OpenCV's saliency maps, loops over images and pixels, and the integral of the share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import Tensor

from methods import saliencymix
from methods.api import BatchShape, Draws
from methods.ops import fine_grained_saliency as saliency_file
from methods.ops.fine_grained_saliency import fine_grained_saliency
from methods.ops.keys import Key
from methods.ops.mixing import draw_lam
from methods.ops.peak_boxes import box_masks, boxes_around, peaks
from methods.saliencymix import SaliencyMix
from tests.oracle.mixing_checks import normalise, photographs, shape_of
from tests.oracle.saliency_checks import check_mean_pixel_is_the_label, set_up, step

GOLDEN = Path(__file__).parents[1] / "golden" / "saliency" / "fine_grained.npz"
KEYS = [Key("saliencymix", number) for number in range(8)]
CASES = settings(max_examples=12, deadline=None, database=None, derandomize=True)


def check_saliency_is_that_of_opencv() -> None:
    """Maps of photographs that opencv-contrib-python-headless 4.14.0 and 5.0.0 gave, the same from both."""
    for name, expected in np.load(GOLDEN).items():
        channels, height, width = map(int, name.split("x"))
        images = photographs(len(expected), channels, height, width)
        np.testing.assert_array_equal(fine_grained_saliency(images).numpy(), expected)


def test_saliency_is_that_of_opencv() -> None:
    check_saliency_is_that_of_opencv()


def slow_saliency(image: np.ndarray) -> np.ndarray:
    """One image (H, W) of brightness, pixel by pixel."""
    height, width = image.shape
    grey = image.astype(int)
    for _ in range(2):
        mirrored = np.pad(grey, 1, mode="reflect") if min(height, width) > 1 else np.pad(grey, 1, mode="edge")
        grey = np.array(
            [
                [
                    int((mirrored[r : r + 3, c : c + 3] * np.outer([1, 2, 1], [1, 2, 1])).sum() / 16 + 0.5)
                    for c in range(width)
                ]
                for r in range(height)
            ]
        )
    sums = np.zeros((2, height, width), int)
    for reach in (12, 24, 48, 28, 56, 112):
        for r in range(height):
            for c in range(width):
                box = grey[max(r - reach + 1, 0) : r + reach + 1, max(c - reach + 1, 0) : c + reach + 1]
                mean = np.float32(box.sum() - grey[r, c]) / np.float32(max(box.size - 1, 1))
                difference = float(np.float32(grey[r, c]) - mean)
                sums[int(difference < 0), r, c] += int(abs(difference))
    largest = np.maximum(sums.max((1, 2), keepdims=True), 1)
    return (255 * (sums.astype(np.float32) / largest.astype(np.float32)).astype(float)).astype(int).sum(0)


@CASES
@given(st.integers(2, 9), st.integers(2, 30), st.integers(0, 10**6))
def test_saliency_equals_a_loop_over_pixels(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (1, 1, height, width), dtype=np.uint8)
    np.testing.assert_array_equal(fine_grained_saliency(torch.from_numpy(image))[0].numpy(), slow_saliency(image[0, 0]))


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 1, 1, 7), (2, 2, 6, 1), (3, 3, 8, 8)])
def test_constant_images_have_no_saliency(shape: tuple[int, ...]) -> None:
    assert not fine_grained_saliency(torch.full(shape, 137, dtype=torch.uint8)).any()


@CASES
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1, width=32), st.integers(0, 10**6))
def test_boxes_hold_the_pixels_within_half_a_side_of_the_peak(height: int, width: int, lam: float, seed: int) -> None:
    maps = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (3, height, width)))
    masks = box_masks(boxes_around(peaks(maps), torch.tensor(lam), height, width), height, width)
    side = math.sqrt(1 - lam)
    for index in range(3):
        row, column = np.unravel_index(np.argmax(maps[index].numpy()), (height, width))
        for r in range(height):
            for c in range(width):
                down, along = (side * height / 2 - abs(r - row), side * width / 2 - abs(c - column))
                if min(abs(down), abs(along)) > 1e-4:
                    assert masks[index, r, c].item() == (down > 0 and along > 0)


@pytest.mark.parametrize("peak_of", ["batch", "partner"])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 8, 12), (7, 3, 16, 8)])
def test_label_weight_is_the_pasted_area(peak_of: Any, shape: tuple[int, int, int, int]) -> None:
    check_mean_pixel_is_the_label(SaliencyMix(peak_of=peak_of), shape, KEYS)


def check_images_equal_a_loop(peak_of: Any) -> None:
    images, labels = photographs(5, 3, 12, 16), torch.tensor([0, 4, 2, 2, 1])
    method, net = set_up(SaliencyMix(peak_of=peak_of), images)
    draws = Draws(tensors={"lam": torch.tensor(0.7), "permutation": torch.tensor([3, 0, 1, 4, 2])})
    views = method.views(images, normalise, draws)
    _, mixed = step(method, net, views, labels, draws)
    plain, order = normalise(images), [3, 0, 1, 4, 2]
    brightness = (0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]).round().numpy()
    expected = plain.clone()
    for i in range(5):
        saliency = slow_saliency(brightness[order[i] if peak_of == "partner" else order[0]])
        row, column = np.unravel_index(saliency.argmax(), saliency.shape)
        half = np.array([12, 16]) * math.sqrt(1 - 0.7) / 2
        for r in range(12):
            for c in range(16):
                if abs(r - row) < half[0] and abs(c - column) < half[1]:
                    expected[i, :, r, c] = plain[order[i], :, r, c]
    assert torch.equal(mixed, expected)


@pytest.mark.parametrize("peak_of", ["batch", "partner"])
def test_images_equal_a_loop(peak_of: str) -> None:
    check_images_equal_a_loop(peak_of)


@pytest.mark.parametrize("method", [SaliencyMix(alpha=0.0), SaliencyMix(probability=0.0, peak_of="partner")])
def test_unmixed_is_plain_training_bit_for_bit(method: SaliencyMix) -> None:
    images, labels = photographs(4, 3, 8, 12), torch.tensor([0, 1, 2, 3])
    method, net = set_up(method, images)  # type: ignore[assignment]
    for key in KEYS:
        draws = method.draw(key, shape_of(images))
        loss, mixed = step(method, net, method.views(images, normalise, draws), labels, draws)
        assert torch.equal(mixed, normalise(images))
        assert loss.total.item() == method.task.criterion(net(mixed), labels).mean().item()
        assert loss.parts["share_kept"] == 1


def test_box_of_lam_zero_around_the_middle_pastes_all() -> None:
    box = boxes_around(torch.tensor([[4, 4]]), torch.tensor(0.0), 9, 9)
    assert box.tolist() == [[0, 9, 0, 9]]


@pytest.mark.parametrize("peak", [(16, 16), (0, 0), (5, 30)])
def test_mean_share_is_the_integral_over_lam(peak: tuple[int, int]) -> None:
    """With u = sqrt(1 - lam) and lam uniform, u has density 2 u; a side is clipped to min(p, u/2) + min(1 - p, u/2)."""
    row, column = ((place + 0.5) / 33 for place in peak)

    def clipped(u: float) -> float:
        return math.prod(min(p, u / 2) + min(1 - p, u / 2) for p in (row, column))

    expected = 1 - integrate.quad(lambda u: 2 * u * clipped(u), 0, 1)[0]
    drawn = draw_lam(Key("mean"), 1.0, 10_000)
    boxes = boxes_around(torch.tensor(peak).expand(10_000, 2), drawn[:, None], 33, 33)
    top, bottom, left, right = boxes.double().unbind(1)
    shares = 1 - (bottom - top) * (right - left) / 33**2
    error = shares.std().item() / 100
    assert abs(shares.mean().item() - expected) < 4 * error + 1e-3


def test_probability_mixes_that_share_of_the_batches() -> None:
    half = [SaliencyMix(probability=0.5).draw(Key(number), BatchShape(2, 3, 8, 8))["lam"] for number in range(400)]
    assert abs(sum(lam.item() < 1 for lam in half) - 200) < 4 * 10


def test_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong_boxes(masks: Tensor) -> Tensor:
        return masks.transpose(1, 2).reshape(masks.shape)

    with monkeypatch.context() as patch:
        patch.setattr(saliency_file, "REACHES", (12, 24, 48, 28, 56, 113))
        with pytest.raises(AssertionError):
            check_saliency_is_that_of_opencv()
    with monkeypatch.context() as patch:
        patch.setattr(saliency_file, "LUMA", saliency_file.LUMA[::-1])
        with pytest.raises(AssertionError):
            check_saliency_is_that_of_opencv()
    with monkeypatch.context() as patch:
        patch.setattr(saliencymix, "box_masks", lambda *args: wrong_boxes(box_masks(*args)))
        with pytest.raises(AssertionError):
            check_images_equal_a_loop("batch")
    with monkeypatch.context() as patch:
        patch.setattr(saliencymix, "mixed_loss", lambda c, x, y, p, lam: saliencymix_loss(c, x, y, p, 1 - lam))
        with pytest.raises(AssertionError):
            check_mean_pixel_is_the_label(SaliencyMix(), (4, 1, 8, 8), KEYS)
    with monkeypatch.context() as patch:
        patch.setattr(SaliencyMix, "views", lambda self, images, norm, draws: own_saliency(images, norm))
        with pytest.raises(AssertionError):
            check_images_equal_a_loop("partner")


saliencymix_loss = saliencymix.mixed_loss


def own_saliency(images: Tensor, norm: Any) -> tuple[Tensor, ...]:
    return norm(images), fine_grained_saliency(images)[:, None].expand(images.shape).float() / 255
