"""CutMix against timm, torchvision, slow loops, and the expected area in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from methods.api import Batch, BatchShape, Draws
from methods.cutmix import CutMix
from methods.ops.boxes import box_mask, draw_box, paste, share_outside
from methods.ops.keys import Key
from tests.oracle.mixing_checks import (
    CLASSES,
    check_against_timm,
    check_label_follows_image,
    check_one_graph,
    cross_entropy,
    normalise,
    photographs,
    ready,
    shape_of,
)

KEYS = [Key("cutmix", number) for number in range(40)]
BORDER_BOXES = [
    (0, 4, 0, 5),
    (7, 10, 9, 14),
    (0, 10, 3, 4),
    (2, 3, 0, 14),
    (0, 10, 0, 14),
    (3, 3, 5, 9),
    (9, 10, 13, 14),
]
CASES = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def given_draws(box: tuple[int, int, int, int], permutation: torch.Tensor) -> Draws:
    return Draws(tensors={"box": torch.tensor(box), "permutation": permutation})


@pytest.mark.parametrize("box", BORDER_BOXES)
def test_equals_timm(box: tuple[int, int, int, int]) -> None:
    check_against_timm(CutMix(), given_draws(box, torch.arange(6).flip(0)), lam=0.123, box=box)


@pytest.mark.parametrize("box", BORDER_BOXES)
def test_equals_torchvision(box: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = box
    images, labels = normalise(photographs(5, 3, 10, 14)), torch.tensor([0, 4, 2, 2, 1])
    reference = v2.CutMix(num_classes=CLASSES)
    share = 1.0 - (right - left) * (bottom - top) / 140
    reference.make_params = lambda flat_inputs: {"box": (left, top, right, bottom), "lam_adjusted": share}
    mixed, target = reference(images, labels)
    method, recorder = ready(CutMix(), images)
    expected = torch.nn.functional.cross_entropy(recorder(mixed), target)
    recorder.seen.clear()
    loss = method.loss(recorder, Batch((images,), labels), given_draws(box, torch.arange(5).roll(1)))
    assert torch.equal(recorder.seen[0], mixed)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12), (3, 1, 13, 6)])
def test_label_weight_is_the_pasted_area(shape: tuple[int, int, int, int]) -> None:
    check_label_follows_image(CutMix(), shape, KEYS)


@CASES
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 10**6))
def test_box_equals_the_pixels_whose_centres_it_holds(height: int, width: int, lam: float, seed: int) -> None:
    key = Key("property", seed)
    box = draw_box(key, lam, height, width)
    centre = key.fold("box").generator().random(2)
    inside = np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            down = abs((row + 0.5) - centre[0] * height) <= height * math.sqrt(1 - lam) / 2
            along = abs((column + 0.5) - centre[1] * width) <= width * math.sqrt(1 - lam) / 2
            inside[row, column] = down and along
    np.testing.assert_array_equal(box_mask(box, height, width).numpy(), inside)
    assert share_outside(box, height, width).item() == pytest.approx(1 - inside.mean(), abs=1e-6)


@CASES
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_paste_equals_slicing(height: int, width: int, data: st.DataObject) -> None:
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    images, partners = torch.zeros(2, 3, height, width), torch.ones(2, 3, height, width)
    expected = images.clone()
    expected[:, :, top:bottom, left:right] = 1
    assert torch.equal(paste(images, partners, torch.tensor([top, bottom, left, right])), expected)
    assert images.sum() == 0


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 41)])
def test_mean_label_weight_at_alpha_one(height: int, width: int) -> None:
    """With u = sqrt(1 - lam) and lam uniform, a side of u around a uniform centre is u - u^2/4 on average once clipped,
    so the expected area is the integral of 2 u (u - u^2/4)^2 over [0, 1], 77/240."""
    drawn = 12000
    shares = [
        share_outside(CutMix().draw(Key("mean", number), BatchShape(1, 3, height, width))["box"], height, width).item()
        for number in range(drawn)
    ]
    error = np.std(shares) / math.sqrt(drawn)
    assert abs(np.mean(shares) - (1 - 77 / 240)) < 4 * error
    assert 4 * error < 0.012


@pytest.mark.parametrize("method", [CutMix(alpha=0.0), CutMix(probability=0.0)])
def test_unmixed_is_plain_training_bit_for_bit(method: CutMix) -> None:
    images, labels = normalise(photographs(4, 3, 6, 9)), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(method, images)  # type: ignore[assignment]
    for key in KEYS:
        loss = method.loss(recorder, Batch((images,), labels), method.draw(key, shape_of(images))).total
        assert torch.equal(recorder.seen[0], images)
        recorder.seen.clear()
        assert loss.item() == cross_entropy(recorder(images), labels).mean().item()
        recorder.seen.clear()


def test_probability_mixes_that_share_of_the_batches_and_leaves_the_boxes() -> None:
    shape = BatchShape(4, 3, 64, 64)
    always = [CutMix(alpha=5.0).draw(Key(number), shape)["box"] for number in range(600)]
    half = [CutMix(alpha=5.0, probability=0.5).draw(Key(number), shape)["box"] for number in range(600)]
    mixed = [number for number, box in enumerate(half) if box.any()]
    assert abs(len(mixed) - 300) < 4 * math.sqrt(150)
    assert all(torch.equal(half[number], always[number]) for number in mixed)


def test_boxes_of_all_sizes_compile_to_one_graph() -> None:
    check_one_graph(CutMix(), photographs(4, 3, 8, 8), KEYS[:5])
