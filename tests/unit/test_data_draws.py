"""Order, crops and flips: keyed, independent of each other, distributed as they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import RandomResizedCrop

from bench.data.draws import TRIES, draw_crops, epoch_crops, epoch_order, resized_boxes
from methods.ops.keys import Key
from tests.unit.data_folders import spec_of

PAD = spec_of(crop="pad", crop_padding=2, flip=True)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(1, 200))
def test_the_order_is_a_permutation(seed: int, epoch: int, size: int) -> None:
    assert sorted(epoch_order(seed, epoch, size)) == list(range(size))


def test_order_and_draws_follow_seed_and_epoch() -> None:
    orders = [epoch_order(seed, epoch, 50).tolist() for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]
    draws = [epoch_crops(seed, epoch, PAD, 50) for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    for name in ("flips", "shifts"):
        values = [getattr(draw, name).tolist() for draw in draws]
        assert values[0] == values[1]
        assert values[0] != values[2] != values[3] != values[0]


def test_flips_and_crops_do_not_move_each_other() -> None:
    both = epoch_crops(0, 0, PAD, 50)
    assert np.array_equal(epoch_crops(0, 0, spec_of(flip=True), 50).flips, both.flips)
    unflipped = epoch_crops(0, 0, spec_of(crop="pad", crop_padding=2), 50)
    assert not unflipped.flips.any()
    assert np.array_equal(unflipped.shifts, both.shifts)


def test_draws_are_per_image_whatever_the_number_of_images() -> None:
    few, many = epoch_crops(0, 0, PAD, 10), epoch_crops(0, 0, PAD, 50)
    assert np.array_equal(few.flips, many.flips[:10])
    assert np.array_equal(few.shifts, many.shifts[:10])


def test_shifts_are_uniform_over_all_places() -> None:
    draws = epoch_crops(0, 0, PAD, 20_000)
    assert draws.shifts is not None
    assert draws.shifts.dtype == np.int64
    counts = np.bincount(draws.shifts[:, 0] * 5 + draws.shifts[:, 1], minlength=25)
    assert len(counts) == 25
    assert ((counts - 800) ** 2 / 800).sum() < 55  # chi-squared, 24 degrees of freedom: 3e-4
    assert abs(draws.flips.mean() - 0.5) < 0.02


def test_nothing_asked_draws_nothing() -> None:
    draws = epoch_crops(0, 0, spec_of(), 5)
    assert (draws.flips.any(), draws.shifts, draws.boxes) == (False, None, None)


def box_by_hand(uniforms: np.ndarray, height: int, width: int, scale_min: float) -> tuple[int, int, int, int]:
    """One image, one try after another, as torchvision's documentation describes it."""
    for area_share, ratio_share, row, column in uniforms.tolist():
        area = height * width * (scale_min + (1 - scale_min) * area_share)
        ratio = math.exp(math.log(3 / 4) + ratio_share * (math.log(4 / 3) - math.log(3 / 4)))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            return int(row * (height - box_height + 1)), int(column * (width - box_width + 1)), box_height, box_width
    if width / height < 3 / 4:
        box_height, box_width = round(width / (3 / 4)), width
    elif width / height > 4 / 3:
        box_height, box_width = height, round(height * (4 / 3))
    else:
        box_height, box_width = height, width
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (30, 7), (5, 64), (1, 1), (3, 4)])
@pytest.mark.parametrize("scale_min", [0.08, 0.9, 1.0])
def test_boxes_equal_a_loop(height: int, width: int, scale_min: float) -> None:
    uniforms = np.random.default_rng(height).random((300, TRIES, 4))
    boxes = resized_boxes(uniforms, height, width, scale_min)
    assert boxes.tolist() == [list(box_by_hand(own, height, width, scale_min)) for own in uniforms]
    assert (boxes >= [0, 0, 1, 1]).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [height, width]).all()


def test_the_fallback_of_long_images_is_the_largest_central_box() -> None:
    uniforms = np.zeros((1, TRIES, 4))
    uniforms[..., 0] = 0.999
    assert resized_boxes(uniforms, 60, 10, 0.08).tolist() == [[23, 0, 13, 10]]
    assert resized_boxes(uniforms, 10, 60, 0.08).tolist() == [[0, 23, 10, 13]]


def test_boxes_are_distributed_as_torchvisions() -> None:
    """Means of position, height and width over 4,000 boxes each, within 5 standard errors."""
    height, width = 40, 50
    ours = draw_crops(Key(0), spec_of(crop="random_resized"), 4000, height, width).boxes
    assert ours is not None
    image = torch.zeros(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    theirs = np.array(drawn)
    error = np.sqrt(ours.var(axis=0) / 4000 + theirs.var(axis=0) / 4000)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error).all()
    assert np.allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.06)


def test_numpys_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    epoch_order(0, 0, 100)
    epoch_crops(0, 0, PAD, 100)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
