"""GridMixup against a loop that fills hole after hole."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods import gridmixup
from methods.api import BatchShape
from methods.gridmixup import GridMixup, grid_mask
from methods.ops.keys import Key
from tests.oracle.input_method_checks import (
    check_compiles_to_one_graph,
    check_label_faults_are_caught,
    check_labels_follow_pixels,
    check_pixels_come_from_one_image,
    take_step,
)
from tests.oracle.mixing_checks import normalise, photographs, ready, shape_of

KEYS = [Key("gridmixup", number) for number in range(10)]
CASES = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def slow_mask(key: Key, height: int, width: int) -> np.ndarray:
    """Holes filled one by one, from the same random numbers."""
    generator = key.fold("grid").generator()
    lam, columns = generator.uniform(0.1, 0.9), generator.integers(2, 7)
    area = generator.uniform(0.5, 1)
    crop_height, crop_width = int(height * math.sqrt(area)), int(width * math.sqrt(area))
    down, along = generator.random(2)
    top, left = int((height - crop_height) * down), int((width - crop_width) * along)
    mask = np.zeros((height, width), bool)
    if crop_width == 0 or crop_height == 0:
        return mask
    cell = math.ceil(crop_width / max(1, min(columns, crop_width // 2)))
    hole = int(cell * math.sqrt(1 - lam))
    hole = cell - 1 if hole >= cell else max(hole, 1) if cell > 1 else 0
    for row in range(top, top + crop_height, cell):
        for column in range(left, left + crop_width, cell):
            bottom, right = min(row + hole, top + crop_height), min(column + hole, left + crop_width)
            mask[row:bottom, column:right] = True
    return mask


@CASES
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_mask_equals_holes_filled_one_by_one(height: int, width: int, seed: int) -> None:
    grid = GridMixup().draw(Key(seed), BatchShape(2, 3, height, width))["grid"]
    np.testing.assert_array_equal(grid_mask(grid, height, width).numpy(), slow_mask(Key(seed), height, width))


def check_holes_show_the_partner() -> None:
    images = normalise(photographs(4, 3, 16, 20))
    method, recorder = ready(GridMixup(), images)
    for key in KEYS:
        draws = method.draw(key, shape_of(images))
        _, seen, parts = take_step(method, recorder, images, torch.arange(4), draws)
        mask = slow_mask(key, 16, 20)
        for image, partner in enumerate(draws["permutation"].tolist()):
            expected = np.where(mask, images[partner].numpy(), images[image].numpy())
            np.testing.assert_array_equal(seen[image].numpy(), expected)
        assert parts["share_kept"].item() == pytest.approx(1 - mask.mean(), abs=1e-6)


def test_holes_show_the_partner() -> None:
    check_holes_show_the_partner()


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 1, 8, 8), (7, 3, 5, 12), (3, 1, 1, 1)])
def test_labels_follow_pixels(shape: tuple[int, int, int, int]) -> None:
    check_labels_follow_pixels(GridMixup(), shape, KEYS)


def test_pixels_come_from_one_image() -> None:
    check_pixels_come_from_one_image(GridMixup(), normalise(photographs(5, 3, 9, 12)), KEYS)


def test_mean_share_kept() -> None:
    """As the slow loop has it, over other keys."""
    slow = [1 - slow_mask(Key("slow", number), 32, 32).mean() for number in range(2000)]
    shape = BatchShape(1, 1, 32, 32)
    ours = [
        1 - grid_mask(GridMixup().draw(Key("mean", number), shape)["grid"], 32, 32).float().mean().item()
        for number in range(2000)
    ]
    error = math.sqrt((np.var(slow) + np.var(ours)) / 2000)
    assert abs(np.mean(ours) - np.mean(slow)) < 4 * error
    assert abs(np.mean(ours) - 0.682) < 4 * np.std(ours) / 2000**0.5 + 0.002


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_holes_are_never_the_whole_cell_nor_nothing(lam: float) -> None:
    method = GridMixup(lam_low=lam, lam_high=lam, crop_low=1.0)
    cell, hole = method.draw(Key(0), BatchShape(1, 1, 24, 24))["grid"][4:].tolist()
    assert hole == (cell - 1 if lam == 0 else 1)


def test_compiles_to_one_graph() -> None:
    check_compiles_to_one_graph(GridMixup(), photographs(3, 3, 8, 8), KEYS[:4])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam_low": 0.5, "lam_high": 0.2}, r"lam_low 0\.5 is above lam_high 0\.2"),
        ({"cells_low": 5, "cells_high": 3}, r"cells_low 5 is above cells_high 3"),
    ],
)
def test_ranges_in_the_wrong_order_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GridMixup(**settings)


def test_wrong_labels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    check_label_faults_are_caught(gridmixup, GridMixup, (6, 1, 12, 9), monkeypatch)


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gridmixup.grid_mask
    faults: dict[str, Any] = {
        "holes and bars swapped": lambda *given: ~right(*given),
        "one row down": lambda *given: right(*given).roll(1, 0),
        "height and width swapped": lambda grid, *size: right(grid[[2, 3, 0, 1, 4, 5]], *size),
        "hole one pixel short": lambda grid, *size: right(grid - torch.tensor([0, 0, 0, 0, 0, 1]), *size),
    }
    for fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(gridmixup, "grid_mask", fault)
            with pytest.raises(AssertionError):
                check_holes_show_the_partner()
