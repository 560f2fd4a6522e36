"""Noisy Feature Mixup for any batch, image size, depth and lam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.api import Batch, BatchShape
from methods.nfm import NoisyFeatureMixup, disturbed
from methods.ops.keys import Key
from methods.ops.white_noise import draw_seeds
from tests.oracle.input_method_checks import check_labels_follow_pixels, take_step
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, ready, shape_of
from tests.oracle.nfm_checks import check_depth

CASES = settings(max_examples=25, deadline=None, database=None, derandomize=True)
SEEDS = st.integers(0, 10**6)
LEVELS = st.sampled_from([0.0, 0.3, 2.0])
SETTINGS = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.0, 0.2, 1.0, 4.0]),
        "additive": LEVELS,
        "multiplicative": LEVELS,
        "lam_per": st.sampled_from(["batch", "sample"]),
    }
)
SHAPES = st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(CLASSES, 8))


@CASES
@given(SHAPES, SETTINGS, st.integers(0, 3), st.sampled_from([None, None, 0.0, 1.0]), SEEDS)
def test_every_depth_equals_a_loop(
    shape: tuple[int, int, int, int], chosen: dict[str, Any], depth: int, lam: float | None, seed: int
) -> None:
    check_depth(NoisyFeatureMixup(**chosen), depth, shape, Key("properties", seed), lam)


@CASES
@given(SHAPES, SETTINGS, st.integers(0, 4), SEEDS)
def test_draws_are_in_range_and_the_keys_own(
    shape: tuple[int, int, int, int], chosen: dict[str, Any], deepest: int, seed: int
) -> None:
    method = NoisyFeatureMixup(deepest_stage=deepest, **chosen)
    draws = method.draw(Key(seed), BatchShape(*shape))
    torch.manual_seed(99)
    again, other = (method.draw(key, BatchShape(*shape)) for key in (Key(seed), Key(seed, "other")))
    assert draws.branch in ["input", *(f"stage{depth}" for depth in range(1, deepest + 1))]
    assert draws.branch == again.branch
    assert all(torch.equal(draws[name], again[name]) for name in draws.tensors)
    assert not torch.equal(draws["seeds"], other["seeds"])
    assert ((draws["lam"] >= 0) & (draws["lam"] <= 1)).all()
    assert sorted(draws["permutation"].tolist()) == list(range(shape[0]))
    assert (draws["levels"] >= 0).all()
    assert (draws["levels"] <= torch.tensor([chosen["multiplicative"], chosen["additive"]])).all()


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@CASES
@given(SHAPES, SEEDS)
def test_labels_follow_pixels_without_noise(lam_per: Any, shape: tuple[int, int, int, int], seed: int) -> None:
    method = NoisyFeatureMixup(additive=0.0, multiplicative=0.0, deepest_stage=0, lam_per=lam_per)
    check_labels_follow_pixels(method, shape, [Key("labels", seed)])


@CASES
@given(SHAPES, SETTINGS, SEEDS)
def test_a_batch_of_one_is_its_image_with_noise(
    shape: tuple[int, int, int, int], chosen: dict[str, Any], seed: int
) -> None:
    images, labels = normalise(photographs(1, *shape[1:])), torch.tensor([2])
    method, recorder = ready(NoisyFeatureMixup(deepest_stage=0, **chosen), images)
    draws = method.draw(Key(seed), shape_of(images))
    total, seen, _ = take_step(method, recorder, images, labels, draws)
    expected = disturbed(images, draws["levels"], draws["seeds"][:2])
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(total, cross_entropy(recorder(seen), labels).mean())


@CASES
@given(SHAPES, st.sampled_from([0.0, 0.01, 0.5, 1.0]), SEEDS)
def test_multiplicative_noise_alone_keeps_values_within_its_level(
    shape: tuple[int, int, int, int], level: float, seed: int
) -> None:
    values = normalise(photographs(*shape))
    noisy = disturbed(values, torch.tensor([level, 0.0]), draw_seeds(Key(seed), 2))
    assert ((noisy - values).abs() <= level * values.abs() + 1e-6).all()
    assert torch.equal(noisy, values) == (level == 0)


@CASES
@given(SHAPES, SETTINGS, SEEDS)
def test_the_loss_is_a_function_of_its_draws(
    shape: tuple[int, int, int, int], chosen: dict[str, Any], seed: int
) -> None:
    images, labels = normalise(photographs(*shape)), torch.arange(shape[0]) % CLASSES
    kept = images.clone()
    method, recorder = ready(NoisyFeatureMixup(deepest_stage=0, **chosen), images)
    draws = method.draw(Key(seed), shape_of(images))
    first = method.loss(recorder, Batch((images,), labels), draws).total  # type: ignore[arg-type]
    torch.manual_seed(7)
    again = method.loss(recorder, Batch((images,), labels), draws).total  # type: ignore[arg-type]
    assert torch.equal(first, again)
    assert torch.equal(images, kept)
