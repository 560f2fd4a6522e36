"""PixMix against PIL and a loop over images and rounds in float64; its pictures against a chaos game of one point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from methods import pixmix_procedural
from methods.api import Batch, BatchShape, Draws, Task
from methods.ops.fractals import SIDE, fractal_pictures
from methods.ops.keys import Key
from methods.pixmix_procedural import PixMixProcedural
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs, ready, shape_of
from tests.oracle.pixmix_checks import PICTURES, check_views


@pytest.mark.parametrize(("size", "channels", "height", "width"), [(5, 3, 12, 12), (1, 1, 7, 10), (3, 3, 8, 15)])
def test_views_equal_pil_and_a_loop(size: int, channels: int, height: int, width: int) -> None:
    images = photographs(size, channels, height, width)
    for number in range(4):
        check_views(images, Key("views", number))


def test_black_and_white_images_stay_finite() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).repeat(4, 3, 8, 8)
    for number in range(10):
        check_views(images, Key("extremes", number))


def test_no_rounds_is_at_most_one_operation() -> None:
    images = photographs(6, 3, 8, 8)
    check_views(images, Key("none"), rounds=0)


def test_draws_are_those_of_the_paper() -> None:
    method, shape = PixMixProcedural(pictures=PICTURES), BatchShape(300, 3, 16, 24)
    keys = [Key("draws", number) for number in range(10)]
    many = [method.draw(key, shape) for key in keys]
    draws = {name: torch.cat([one[name] for one in many], -1) for name in ("picture", "count", "framed", "multiplied")}
    corner, powers = torch.cat([one["corner"] for one in many]), torch.cat([one["powers"] for one in many], -1)
    for name, sides in (("picture", 6), ("count", 5)):
        assert stats.chisquare(torch.bincount(draws[name], minlength=sides).numpy()).pvalue > 1e-3
    for axis, places in ((0, 3), (1, 4)):
        assert stats.chisquare(torch.bincount(corner[:, axis], minlength=places).numpy()).pvalue > 1e-3
    a, b = powers.flatten(1).numpy()
    within = b > 0
    for chance in (within.mean(), draws["framed"].float().mean(), draws["multiplied"].float().mean()):
        assert abs(chance - 0.5) < 4 * 0.5 / 12000**0.5
    assert stats.kstest(a[within], stats.beta(3, 1).cdf).pvalue > 1e-3
    assert stats.kstest(b[within], stats.beta(1, 3).cdf).pvalue > 1e-3
    assert stats.kstest(a[~within] - 1, stats.beta(1, 3).cdf).pvalue > 1e-3
    assert stats.kstest(-b[~within], stats.beta(1, 3).cdf).pvalue > 1e-3
    plans = [method.plan(key, shape, one["framed"].numpy()) for key, one in zip(keys, many, strict=True)]
    depth = np.concatenate([plan.depth.reshape(5, -1) for plan in plans], axis=1)
    assert abs(depth[0].mean() - 0.5) < 4 * 0.5 / 3000**0.5
    np.testing.assert_array_equal(depth[1:], ~draws["framed"].numpy())


def test_loss_is_that_of_plain_training() -> None:
    images, labels = photographs(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(PixMixProcedural(pictures=PICTURES), images)
    draws = method.draw(Key(0), shape_of(images))
    views = method.views(images, normalise, draws)
    loss = method.loss(recorder, Batch(views, labels), draws)  # type: ignore[arg-type]
    assert loss.total == cross_entropy(recorder(views[0]), labels).mean()
    assert not loss.parts


def test_pictures_differ_are_always_the_same_and_not_in_the_state() -> None:
    first = fractal_pictures(PICTURES, 3, 36, 45)
    assert first.dtype == torch.uint8
    assert first.shape == (PICTURES, 3, 36, 45)
    assert torch.equal(first, fractal_pictures(PICTURES, 3, 36, 45))
    flat = first.flatten(1).float()
    assert (torch.cdist(flat, flat) + 1e9 * torch.eye(PICTURES)).min() > 1000
    assert (flat.std(1) > 5).all()
    method = PixMixProcedural(pictures=PICTURES)
    method.setup(None, Task(CLASSES, cross_entropy, (1, 32, 40)))  # type: ignore[arg-type]
    assert torch.equal(method.pictures, fractal_pictures(PICTURES, 1, 36, 45))
    assert not method.state_dict()


def test_one_channel_is_the_mean_of_three() -> None:
    colour = fractal_pictures(PICTURES, 3, SIDE, SIDE).float()
    grey = fractal_pictures(PICTURES, 1, SIDE, SIDE).float()
    torch.testing.assert_close(grey, colour.mean(1, keepdim=True), rtol=0, atol=0.51)


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs(5, 3, 12, 12)
    views, crops, right = PixMixProcedural.views, pixmix_procedural.crops, pixmix_procedural.combined

    def changed(**wrong: Any) -> Any:
        def faulty(self: PixMixProcedural, images: Tensor, normalise: Any, draws: Draws) -> tuple[Tensor, ...]:
            tensors = {name: wrong[name](value) if name in wrong else value for name, value in draws.tensors.items()}
            return views(self, images, normalise, Draws(tensors=tensors))

        return faulty

    faults = {
        "powers swapped": changed(powers=lambda powers: powers.flip(0)),
        "one round too many": changed(count=lambda count: count + 1),
        "operations swapped": changed(multiplied=lambda multiplied: ~multiplied),
        "one picture for all": changed(picture=lambda picture: picture[:1].expand_as(picture)),
        "rounds drawn once a batch": changed(count=lambda count: count[:1].expand_as(count)),
        "clipped too far": None,
        "row and column swapped": None,
    }
    for name, fault in faults.items():
        with monkeypatch.context() as patched:
            if name == "clipped too far":
                patched.setattr(pixmix_procedural, "combined", lambda *given: right(*given).clamp(0.1, 0.9))
            elif name == "row and column swapped":
                patched.setattr(
                    pixmix_procedural,
                    "crops",
                    lambda pictures, picture, corner, *size: crops(pictures, picture, corner.flip(1), *size),
                )
            else:
                patched.setattr(PixMixProcedural, "views", fault)
            with pytest.raises(AssertionError):
                for number in range(4):
                    check_views(images, Key("views", number))
