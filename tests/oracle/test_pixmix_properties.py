"""PixMix for any batch, image size and settings."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.api import BatchShape, Draws
from methods.ops.keys import Key
from methods.ops.picture_mixing import combined, larger
from methods.pixmix_procedural import PixMixProcedural
from tests.oracle.mixing_checks import normalise, shape_of
from tests.oracle.pixmix_checks import PICTURES, check_views, method_for
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
    {"rounds": st.integers(0, 5), "beta": st.sampled_from([0.5, 3.0, 4.0]), "severity": st.integers(1, 10)}
)


@CASES
@given(shapes(1, 20), SETTINGS, SEEDS)
def test_views_equal_pil_and_loops(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    check_views(noise_images(shape, seed), Key("properties", seed), **chosen)


@CASES
@given(shapes(1, 40), SETTINGS, SEEDS)
def test_draws_fit_the_pictures(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    size, _, height, width = shape
    draws = PixMixProcedural(pictures=PICTURES, **chosen).draw(Key(seed), BatchShape(*shape))
    assert ((draws["picture"] >= 0) & (draws["picture"] < PICTURES)).all()
    assert (draws["corner"] >= 0).all()
    assert (draws["corner"] + torch.tensor([height, width]) <= torch.tensor([larger(height), larger(width)])).all()
    assert ((draws["count"] >= 0) & (draws["count"] <= chosen["rounds"])).all()
    assert draws["powers"].shape == (2, chosen["rounds"], size)
    a, b = draws["powers"]
    assert (((a >= 0) & (a <= 1) & (b >= 0) & (b <= 1)) | ((a >= 1) & (a <= 2) & (b <= 0) & (b >= -1))).all()


@CASES
@given(shapes(1, 20), SETTINGS, SEEDS)
def test_no_round_and_no_start_gives_back_the_image(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    """As do rounds that keep the mix as it is: a = 1, b = 0."""
    images = noise_images(shape, seed)
    method = method_for(images, **chosen)
    drawn = method.draw(Key(seed), shape_of(images)).tensors
    untouched = torch.arange(shape[0]).repeat(chosen["rounds"] + 1)
    none = {**drawn, "results": untouched, "count": torch.zeros(shape[0], dtype=torch.int64)}
    powers = torch.stack([torch.ones_like(drawn["powers"][0]), torch.zeros_like(drawn["powers"][1])])
    kept = {**drawn, "results": untouched, "powers": powers}
    for tensors in (none, kept):
        (view,) = method.views(images, normalise, Draws(tensors=tensors))
        torch.testing.assert_close(view, normalise(images), rtol=0, atol=1e-4)


@CASES
@given(shapes(1, 8), SEEDS)
def test_powers_of_one_and_zero_give_either_picture(shape: Shape, seed: int) -> None:
    mixed, other = (noise_images(shape, seed + number).float() / 255 for number in range(2))
    multiplied = (torch.arange(shape[0]) % 2 == 0).view(-1, 1, 1, 1)
    for a, expected in ((1.0, mixed), (0.0, other)):
        powers = torch.tensor([a, 1 - a]).view(2, 1, 1, 1, 1).expand(2, shape[0], 1, 1, 1)
        torch.testing.assert_close(combined(mixed, other, powers, multiplied), expected, rtol=1e-5, atol=1e-6)


@CASES
@given(shapes(1, 20), SETTINGS, SEEDS)
def test_views_keep_range_key_and_image_apart(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    images = noise_images(shape, seed)
    for check in (check_range, check_key_alone_decides, check_other_images_change_nothing):
        check(lambda: PixMixProcedural(pictures=PICTURES, **chosen), images, Key("views", seed))
