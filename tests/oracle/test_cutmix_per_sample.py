"""CutMix with one box an image: against the single box, a loop over pixels, and the expected area in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods import cutmix
from methods.api import BatchShape
from methods.cutmix import CutMix
from methods.ops.boxes import box_mask, share_outside
from methods.ops.keys import Key
from methods.ops.sample_boxes import box_masks, draw_boxes, shares_outside
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    check_pixels_come_from_one_image,
    check_plain,
)
from tests.oracle.mixing_checks import normalise, photographs

KEYS = [Key("cutmix per sample", number) for number in range(10)]
CASES = settings(max_examples=30, deadline=None, database=None, derandomize=True)


@CASES
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5), st.integers(1, 20), st.integers(1, 20))
def test_boxes_hold_the_pixels_whose_centres_are_inside(lam: list[float], height: int, width: int) -> None:
    key = Key("property", height, width)
    boxes = draw_boxes(key, torch.tensor(lam), height, width)
    centres = key.fold("boxes").generator().random((len(lam), 2))
    for image, (share, centre) in enumerate(zip(lam, centres, strict=True)):
        half = math.sqrt(1 - share) / 2
        inside = np.zeros((height, width), bool)
        for row in range(height):
            for column in range(width):
                down = abs(row + 0.5 - centre[0] * height) <= height * half
                inside[row, column] = down and abs(column + 0.5 - centre[1] * width) <= width * half
        np.testing.assert_array_equal(box_masks(boxes, height, width)[image, 0].numpy(), inside)
        np.testing.assert_array_equal(box_mask(boxes[image], height, width).numpy(), inside)
        assert shares_outside(boxes, height, width)[image] == share_outside(boxes[image], height, width)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12)])
def test_labels_follow_pixels(shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(CutMix(lam_per="sample"), shape, KEYS)


def test_pixels_come_from_one_image() -> None:
    check_pixels_come_from_one_image(CutMix(lam_per="sample"), normalise(photographs(5, 3, 9, 12)), KEYS)


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"probability": 0.0}])
def test_unmixed_is_plain_training_bit_for_bit(settings: dict[str, float]) -> None:
    check_plain(CutMix(lam_per="sample", **settings), normalise(photographs(4, 3, 6, 9)), KEYS)


def test_mean_share_and_probability_per_image() -> None:
    boxes = CutMix(lam_per="sample").draw(Key("mean"), BatchShape(10000, 3, 32, 32))["box"]
    shares = shares_outside(boxes, 32, 32)
    assert abs(shares.mean().item() - (1 - 77 / 240)) < 4 * shares.std().item() / 100
    half = CutMix(lam_per="sample", probability=0.5).draw(Key("mean"), BatchShape(10000, 3, 32, 32))["box"]
    mixed = half.any(1)
    assert abs(mixed.sum().item() - 5000) < 4 * 50
    assert torch.equal(half[mixed], boxes[mixed])


def test_compiles_to_one_graph() -> None:
    check_compiles_to_one_graph(CutMix(lam_per="sample"), photographs(3, 3, 8, 8), KEYS[:4])


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(cutmix, lambda: CutMix(lam_per="sample"), (6, 1, 12, 9), monkeypatch)


def test_weights_of_other_images_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cutmix.shares_outside
    monkeypatch.setattr(cutmix, "shares_outside", lambda *box: right(*box).roll(1))
    with pytest.raises(AssertionError):
        check_labels_follow_pixels(CutMix(lam_per="sample"), (6, 1, 12, 9), KEYS)
