"""ResizeMix against torch's interpolate, a loop over pixels, and the expected area in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from methods import resizemix
from methods.api import BatchShape, Draws
from methods.ops import resize_paste
from methods.ops.boxes import share_outside
from methods.ops.keys import Key
from methods.ops.resize_paste import shrunk_into
from methods.resizemix import ResizeMix
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    take_step,
)
from tests.oracle.mixing_checks import normalise, photographs, ready, shape_of

KEYS = [Key("resizemix", number) for number in range(10)]
CASES = settings(max_examples=40, deadline=None, database=None, derandomize=True)


@CASES
@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 14), st.integers(1, 14), st.data())
def test_canvas_equals_interpolate(size: int, channels: int, height: int, width: int, data: st.DataObject) -> None:
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height - 1), st.integers(1, height))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, width - 1), st.integers(1, width))))
    bottom, right = max(bottom, top + 1), max(right, left + 1)
    images = torch.rand(size, channels, height, width, generator=torch.Generator().manual_seed(height))
    expected = F.interpolate(images, (bottom - top, right - left), mode="bilinear", align_corners=False)
    canvas = shrunk_into(images, torch.tensor([top, bottom, left, right]))
    torch.testing.assert_close(canvas[:, :, top:bottom, left:right], expected, rtol=0, atol=1e-5)


def test_pasted_images_equal_a_loop() -> None:
    images = normalise(photographs(5, 3, 10, 14))
    for key in KEYS:
        check_pasted(images, key)


def check_pasted(images: torch.Tensor, key: Key) -> None:
    method, recorder = ready(ResizeMix(), images)
    draws = method.draw(key, shape_of(images))
    top, bottom, left, right = draws["box"].tolist()
    expected = images.clone()
    for image, partner in enumerate(draws["permutation"].tolist()):
        patch = F.interpolate(images[[partner]], (bottom - top, right - left), mode="bilinear", align_corners=False)
        for row in range(top, bottom):
            for column in range(left, right):
                expected[image, :, row, column] = patch[0, :, row - top, column - left]
    _, seen, _ = take_step(method, recorder, images, torch.arange(5), draws)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12), (3, 1, 13, 6)])
def test_labels_follow_pixels(shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(ResizeMix(), shape, KEYS)


@CASES
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_the_whole_patch_is_inside(height: int, width: int, seed: int) -> None:
    key = Key("inside", seed)
    top, bottom, left, right = ResizeMix().draw(key, BatchShape(2, 3, height, width))["box"].tolist()
    scale = key.fold("paste").generator().uniform(0.1, 0.8)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width
    assert bottom - top == max(1, math.floor(scale * height + 0.5))
    assert right - left == max(1, math.floor(scale * width + 0.5))


def test_places_are_uniform() -> None:
    shape, method = BatchShape(1, 1, 6, 8), ResizeMix(scale_low=0.5, scale_high=0.5)
    boxes = torch.stack([method.draw(Key("place", number), shape)["box"] for number in range(2000)])
    assert stats.chisquare(torch.bincount(boxes[:, 0] * 5 + boxes[:, 2], minlength=20).numpy()).pvalue > 1e-3


def test_mean_share_kept() -> None:
    """One minus the mean square of a uniform scale, (0.8^3 - 0.1^3) / (3 * 0.7)."""
    shape = BatchShape(1, 1, 224, 224)
    boxes = [ResizeMix().draw(Key("mean", number), shape)["box"] for number in range(4000)]
    shares = [share_outside(box, 224, 224).item() for box in boxes]
    assert abs(np.mean(shares) - (1 - 0.511 / 2.1)) < 4 * np.std(shares) / 4000**0.5


def test_scale_one_shows_the_partner_alone() -> None:
    images = normalise(photographs(4, 3, 6, 9))
    method, recorder = ready(ResizeMix(scale_low=1.0, scale_high=1.0), images)
    draws = method.draw(Key(1), shape_of(images))
    draws = Draws(tensors={**draws.tensors, "permutation": torch.tensor([1, 2, 3, 0])})
    _, seen, parts = take_step(method, recorder, images, torch.arange(4), draws)
    torch.testing.assert_close(seen, images[[1, 2, 3, 0]], rtol=0, atol=1e-6)
    assert parts["share_kept"] == 0


def test_compiles_to_one_graph() -> None:
    check_compiles_to_one_graph(ResizeMix(), photographs(3, 3, 8, 8), KEYS[:4])


def test_scales_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scale_low 0\.5 is above scale_high 0\.2"):
        ResizeMix(scale_low=0.5, scale_high=0.2)


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(resizemix, ResizeMix, (6, 1, 12, 9), monkeypatch)


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = resize_paste.shrunk_into
    faults: dict[str, Any] = {
        "cut instead of shrunk": lambda images, box: images,
        "upside down": lambda images, box: right(images.flip(2), box),
        "half a pixel off": lambda images, box: right(images, box).roll(1, 3),
        "height and width swapped": lambda images, box: right(images, box[[2, 3, 0, 1]]),
    }
    images = normalise(photographs(5, 3, 10, 14))
    for fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(resizemix, "shrunk_into", fault)
            with pytest.raises(AssertionError):
                check_pasted(images, KEYS[0])
