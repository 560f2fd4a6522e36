"""IPMix for any batch, image size and settings."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.api import BatchShape
from methods.ipmix_procedural import IpMixProcedural
from methods.ops.keys import Key
from tests.oracle.augmix_checks import with_strength
from tests.oracle.ipmix_checks import PICTURES, check_views, method_for
from tests.oracle.mixing_checks import normalise, shape_of
from tests.oracle.view_checks import (
    Shape,
    check_key_alone_decides,
    check_other_images_change_nothing,
    check_range,
    noise_images,
    shapes,
)

CASES = settings(max_examples=25, deadline=None, database=None, derandomize=True)
SEEDS = st.integers(0, 10**6)
SETTINGS = st.fixed_dictionaries(
    {
        "width": st.integers(1, 3),
        "steps": st.integers(0, 4),
        "beta": st.sampled_from([0.5, 3.0, 4.0]),
        "severity": st.integers(1, 10),
        "jsd": st.booleans(),
        "overflow": st.sampled_from(["wrap", "clip"]),
    }
)


@CASES
@given(shapes(1, 9), SETTINGS, st.sampled_from([None, 0.0, 1.0]), SEEDS)
def test_views_equal_loops(shape: Shape, chosen: dict[str, Any], strength: float | None, seed: int) -> None:
    images = noise_images(shape, seed)
    check_views(method_for(images, **chosen), images, Key("properties", seed), strength)


@CASES
@given(shapes(1, 16), SETTINGS, SEEDS)
def test_strength_zero_gives_back_the_image(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    images = noise_images(shape, seed)
    method = method_for(images, **chosen)
    for view in method.views(images, normalise, with_strength(method.draw(Key(seed), shape_of(images)), 0.0)):
        assert torch.equal(view, normalise(images.float()))


@CASES
@given(shapes(1, 40), SETTINGS, SEEDS)
def test_draws_stay_within_the_image(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    method = IpMixProcedural(**chosen)
    draws, plan = (make(Key(seed), BatchShape(*shape)) for make in (method.draw, method.plan))
    views, (size, _, height, width) = 2 if chosen["jsd"] else 1, shape
    torch.testing.assert_close(draws["weights"].sum(1), torch.ones(views, size), rtol=0, atol=1e-6)
    assert ((draws["m"] >= 0) & (draws["m"] <= 1)).all()
    assert len(plan.depth) == views * chosen["width"] * size
    assert plan.depth.min() >= 0
    assert plan.depth.max() <= chosen["steps"]
    if chosen["steps"]:
        top, left, bottom, right = plan.box.reshape(-1, 4).T
        for start, end, side in ((top, bottom, height), (left, right, width)):
            assert ((start >= 0) & (start < end) & (end <= side)).all()


@CASES
@given(shapes(1, 16), SETTINGS, SEEDS)
def test_views_keep_range_key_and_image_apart(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    images = noise_images(shape, seed)
    for check in (check_range, check_key_alone_decides, check_other_images_change_nothing):
        check(lambda: IpMixProcedural(pictures=PICTURES, **chosen), images, Key("views", seed))
