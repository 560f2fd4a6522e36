"""Projections, steps and the check against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.evals.attack_ops.ball import Ball
from bench.evals.attack_ops.noise import random_noise, random_start
from bench.evals.draws import ImageDraws
from methods.ops.keys import Key

SHAPE = (4, 3, 5, 5)


def images(seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, SHAPE))


def far(seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.5, 0.6, SHAPE))


def test_linf_projection_is_the_nearest_allowed_value_of_each_pixel() -> None:
    pixels, attacked = images(0), far(1)
    projected = Ball("linf", 0.1).project(pixels, attacked).flatten()
    grid = np.linspace(0, 1, 10001)
    for place, (own, wanted) in enumerate(zip(pixels.flatten().tolist(), attacked.flatten().tolist(), strict=True)):
        allowed = grid[np.abs(grid - own) <= 0.1]
        nearest = allowed[np.abs(allowed - wanted).argmin()]
        assert projected[place].item() == pytest.approx(nearest, abs=1.1e-4)


def test_l2_projection_is_the_nearest_point_of_the_ball_where_the_box_is_far() -> None:
    pixels, attacked = images(0, 0.45, 0.55), far(1)
    projected = Ball("l2", 0.3).project(pixels, attacked)
    generator = np.random.default_rng(2)
    for own, wanted, found in zip(pixels, attacked, projected, strict=True):
        assert (found - own).norm().item() == pytest.approx(0.3)
        closest = (found - wanted).norm()
        for _ in range(300):
            near = (found - own) + 0.05 * torch.from_numpy(generator.normal(size=SHAPE[1:]))
            other = own + near * min(1.0, 0.3 / near.norm().item())
            assert (other - wanted).norm() >= closest - 1e-12


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_stays_in_ball_and_box_and_leaves_what_is_inside(norm: str) -> None:
    ball = Ball(norm, 0.2)
    pixels = images(0).round(decimals=1).float()
    projected = ball.project(pixels, far(1).float())
    ball.check(pixels, projected)
    assert torch.equal(ball.project(pixels, pixels), pixels)
    inside = (pixels + 0.01).clamp(0, 1)
    torch.testing.assert_close(ball.project(pixels, inside), inside)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_projection_that_forgets_the_box_is_caught(norm: str) -> None:
    pixels = torch.full((1, 1, 2, 2), 0.95)
    with pytest.raises(AssertionError, match="outside"):
        Ball(norm, 0.1).check(pixels, pixels + 0.05 + 1e-6)


@pytest.mark.parametrize(
    ("norm", "moved", "message"),
    [("linf", 0.1001, "25.525/255 from its original, allowed 25.5/255"), ("l2", 0.0501, "0.1002 from")],
)
def test_leaving_the_ball_is_caught(norm: str, moved: float, message: str) -> None:
    pixels = torch.full((2, 1, 2, 2), 0.5)
    attacked = pixels.clone()
    Ball(norm, 0.1).check(pixels, attacked)
    attacked[1] += moved
    with pytest.raises(AssertionError, match=message):
        Ball(norm, 0.1).check(pixels, attacked)
    attacked[1] = torch.nan
    with pytest.raises(AssertionError, match="nan"):
        Ball(norm, 0.1).check(pixels, attacked)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_direction_is_the_steepest_of_length_one(norm: str) -> None:
    ball, gradient = Ball(norm, 1.0), far(3)
    steepest = ball.direction(gradient)
    assert ball.length(steepest).tolist() == pytest.approx([1.0] * 4)
    generator = np.random.default_rng(4)
    gain = (steepest * gradient).flatten(1).sum(dim=1)
    for _ in range(300):
        other = steepest + 0.2 * torch.from_numpy(generator.normal(size=SHAPE))
        other = other / ball.length(other)[:, None, None, None]
        assert bool(((other * gradient).flatten(1).sum(dim=1) <= gain + 1e-12).all())


def test_direction_of_zero_and_of_tiny_gradients() -> None:
    for norm in ("linf", "l2"):
        assert Ball(norm, 1.0).direction(torch.zeros(SHAPE)).abs().max() == 0
    tiny = far(3).float()
    torch.testing.assert_close(Ball("l2", 1.0).direction(tiny * 1e-36), Ball("l2", 1.0).direction(tiny))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("draw", [random_start, random_noise])
def test_random_points_are_each_images_own(norm: str, draw) -> None:
    ball, pixels = Ball(norm, 0.2), images(0).float()
    places = torch.tensor([7, 2, 900, 4])
    together = draw(pixels, ball, ImageDraws(Key(0, "x"), places))
    ball.check(pixels, together)
    for row in (3, 0):
        alone = draw(pixels[[row]], ball, ImageDraws(Key(0, "x"), places[[row]]))
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(together - pixels, draw(pixels, ball, ImageDraws(Key(1, "x"), places)) - pixels)


def test_sizes_of_random_points() -> None:
    """A start is uniform in the ball, noise lies on its surface; grey images keep clear of the box."""
    grey = torch.full((4000, 1, 2, 1), 0.5)
    draws = ImageDraws(Key(0, "sizes"), torch.arange(4000))
    starts = {norm: (random_start(grey, Ball(norm, 0.2), draws) - grey) / 0.2 for norm in ("linf", "l2")}
    assert starts["linf"].square().mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert starts["linf"].mean().item() == pytest.approx(0, abs=0.02)
    assert Ball("l2", 1).length(starts["l2"]).mean().item() == pytest.approx(2 / 3, abs=0.01)
    for norm in ("linf", "l2"):
        change = random_noise(grey, Ball(norm, 0.2), draws) - grey
        assert Ball(norm, 1).length(change).tolist() == pytest.approx([0.2] * 4000, rel=1e-5)
        assert change.mean().item() == pytest.approx(0, abs=0.01)
