"""RecursiveMix for any batch sizes, one after the other, any image size and box."""

from __future__ import annotations

import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.api import BatchShape, Draws
from methods.ops.keys import Key
from methods.recursivemix import HISTORY, LABELS, RecursiveMix, pushed
from tests.oracle.mixing_checks import CLASSES
from tests.oracle.recursivemix_checks import batch_of, check_steps, set_up, step

CASES = settings(max_examples=20, deadline=None, database=None, derandomize=True)
SEEDS = st.integers(0, 10**6)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=5)
CHANNELS = st.sampled_from([1, 3])
SIDES = st.sampled_from([2, 4, 6, 10])
AREAS = st.sampled_from([0.05, 0.3, 0.5])
LAM_PER = st.sampled_from(["batch", "sample"])


@CASES
@given(SIZES, CHANNELS, SIDES, SIDES, AREAS, st.sampled_from([0.0, 0.1, 2.0]), LAM_PER, SEEDS)
def test_steps_of_changing_size_equal_loops(
    sizes: list[int], channels: int, height: int, width: int, area: float, omega: float, lam_per: str, seed: int
) -> None:
    key = Key("properties", seed)
    check_steps(sizes, channels, height, width, key=key, area=area, omega=omega, lam_per=lam_per)


@CASES
@given(SIZES, CHANNELS, SIDES, SIDES, st.booleans(), LAM_PER, SEEDS)
def test_shares_of_zero_and_one_equal_loops(
    sizes: list[int], channels: int, height: int, width: int, whole: bool, lam_per: str, seed: int
) -> None:
    """A box of no pixel leaves plain training; a box of all pixels repeats the images of the first batch."""
    box = [0, height, 0, width] if whole else [0, 0, 0, 0]
    check_steps(sizes, channels, height, width, box, Key("whole", seed), lam_per=lam_per)


@CASES
@given(st.integers(1, 4), st.booleans(), SEEDS)
def test_a_new_label_takes_its_share_and_the_two_oldest_are_joined(size: int, each: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(LABELS, size, generator=generator)
    weights = weights / weights.sum(0)
    lam = torch.rand(size if each else (), generator=generator)
    newer = pushed(weights, lam)
    assert (newer >= 0).all()
    torch.testing.assert_close(newer.sum(0), torch.ones(size))
    torch.testing.assert_close(newer[0], lam.expand(size), rtol=0, atol=0)
    torch.testing.assert_close(newer[1:-1], (1 - lam) * weights[:-2], rtol=0, atol=0)
    torch.testing.assert_close(newer[-1], (1 - lam) * (weights[-2] + weights[-1]))


@CASES
@given(SIZES, st.integers(1, 40), st.integers(1, 40), AREAS, SEEDS)
def test_boxes_lie_within_the_image_and_come_from_the_key(
    sizes: list[int], height: int, width: int, area: float, seed: int
) -> None:
    for number, size in enumerate(sizes):
        shape, key = BatchShape(size, 3, height, width), Key(seed, number)
        box = RecursiveMix(area=area).draw(key, shape)["box"]
        torch.manual_seed(7)
        assert torch.equal(box, RecursiveMix(area=area).draw(key, shape)["box"])
        assert torch.equal(box, RecursiveMix(area=area).draw(key, shape._replace(size=size + 1))["box"])
        each = RecursiveMix(area=area, lam_per="sample").draw(key, shape)["box"]
        assert each.shape == (size, 4)
        for top, bottom, left, right in [box.tolist(), *each.tolist()]:
            assert 0 <= top <= bottom <= height
            assert 0 <= left <= right <= width
            # Each side is that of the real box with its edges rounded, so at most one pixel longer.
            assert bottom - top <= area**0.5 * height + 1
            assert right - left <= area**0.5 * width + 1


@CASES
@given(SIZES, st.integers(0, 4), SIDES, SIDES, LAM_PER, SEEDS)
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not(
    sizes: list[int], stop: int, height: int, width: int, lam_per: str, seed: int
) -> None:
    method, backbone = set_up(3, height, width, lam_per=lam_per)
    resumed = method
    for number, size in enumerate(sizes):
        if number == stop:
            resumed, _ = set_up(3, height, width, lam_per=lam_per)
            resumed.load_state_dict(copy.deepcopy(method.state_dict()))
        batch = batch_of(size, 3, height, width, number)
        expected = step(method, backbone, batch, Key(seed, number))
        if resumed is not method:
            assert torch.equal(step(resumed, backbone, batch, Key(seed, number)).total, expected.total)
    for name in HISTORY:
        assert torch.equal(getattr(resumed, name), getattr(method, name))


@CASES
@given(SIZES, SIDES, SIDES, SEEDS)
def test_the_past_has_the_size_of_the_last_batch(sizes: list[int], height: int, width: int, seed: int) -> None:
    method, backbone = set_up(1, height, width)
    for number, size in enumerate(sizes):
        step(method, backbone, batch_of(size, 1, height, width, number), Key(seed, number))
        assert method.past_images.shape == (size, 1, height, width)
        assert method.past_labels.shape == method.past_weights.shape == (LABELS, size)
        torch.testing.assert_close(method.past_predictions.sum(1), torch.ones(size))
        assert ((method.past_labels >= 0) & (method.past_labels < CLASSES)).all()


@CASES
@given(st.integers(1, 4), SIDES, SIDES, SEEDS)
def test_images_of_another_size_start_anew(size: int, height: int, width: int, seed: int) -> None:
    method, backbone = set_up(3, height, width)
    step(method, backbone, batch_of(size, 3, height, width, 0), Key(seed))
    batch = batch_of(size, 3, height + 2, width, 1)
    guide = method.guide(backbone, batch, Draws())  # type: ignore[arg-type]
    assert torch.equal(guide["past_images"], batch.views[0])
    assert torch.equal(guide["past_labels"][0], batch.labels)
