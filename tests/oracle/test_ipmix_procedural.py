"""IPMix against PIL, Python's integers and a loop over images, chains and steps; its draws against SciPy."""

from __future__ import annotations

import platform
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from methods.api import Batch, BatchShape, Draws
from methods.ipmix_procedural import IpMixProcedural
from methods.ops import ipmix_plan, patch_mixing
from methods.ops.ipmix_plan import draw_plan, patch_sizes
from methods.ops.keys import Key
from methods.ops.patch_mixing import levels
from tests.oracle.augmix_checks import check_drawn_per_image
from tests.oracle.ipmix_checks import OPERATIONS, PICTURES, check_views, method_for
from tests.oracle.mixing_checks import (
    check_normalised_once,
    check_one_graph,
    cross_entropy,
    normalise,
    photographs,
    ready,
    shape_of,
)
from tests.oracle.pil_operations import NAMES


@pytest.mark.parametrize(("size", "channels", "height", "width"), [(3, 3, 16, 18), (1, 1, 7, 10), (4, 3, 9, 16)])
def test_views_equal_pil_and_a_loop(size: int, channels: int, height: int, width: int) -> None:
    images = photographs(size, channels, height, width)
    for number in range(3):
        check_views(method_for(images), images, Key("views", number))


@pytest.mark.parametrize("settings", [{"overflow": "clip"}, {"jsd": False}, {"width": 1, "steps": 5, "beta": 1.5}])
def test_views_equal_a_loop_with_other_settings(settings: dict[str, Any]) -> None:
    images = photographs(4, 3, 10, 10)
    for number in range(2):
        check_views(method_for(images, **settings), images, Key("settings", number))


def test_black_and_white_images_stay_finite() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).repeat(2, 3, 8, 8)
    method = method_for(images)
    method.pictures[:3] = 0
    for number in range(4):
        check_views(method, images, Key("extremes", number))


def test_no_steps_is_the_image() -> None:
    images = photographs(3, 3, 8, 8)
    method = method_for(images, steps=0)
    for view in method.views(images, normalise, method.draw(Key("none"), shape_of(images))):
        torch.testing.assert_close(view, normalise(images), rtol=0, atol=1e-5)


def test_the_first_view_is_the_clean_image() -> None:
    method = IpMixProcedural(pictures=PICTURES, width=1, steps=0)
    method_, _ = ready(method, photographs(3, 3, 9, 7))
    check_normalised_once(method_)


def test_all_is_drawn_per_image() -> None:
    check_drawn_per_image(method_for(photographs(1, 3, 16, 16)))  # type: ignore[arg-type]


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="what a cast beyond the range gives is the machine's choice"
)
def test_bytes_are_torchvisions() -> None:
    values = torch.cat([torch.linspace(-4, 4, 4097), torch.arange(256) / 255, torch.tensor([1e6, 1e9, 1e12])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the cast beyond the range is the point
        expected = torch.from_numpy(np.asarray(to_pil_image(values.view(1, 1, -1)), dtype=np.uint8).copy())
    assert torch.equal(levels(values, wrap=True).view(1, -1), expected)


def test_clipped_bytes_are_those_within_the_range() -> None:
    values = torch.tensor([-9.0, -0.001, 0, 0.5, 1, 1.001, 300], dtype=torch.float64)
    assert levels(values, wrap=False).tolist() == [0, 0, 0, 127, 255, 255, 255]
    assert levels(values, wrap=True).tolist() == [-9 * 255 % 256, 0, 0, 127, 255, 255, 300 * 255 % 256]


def test_draws_are_those_of_the_official_code() -> None:
    plan = draw_plan(Key("plan").generator(), chains=4000, steps=3, severity=3, beta=3.0, height=32, width=40)
    assert stats.chisquare(np.bincount(plan.depth, minlength=4)).pvalue > 1e-3
    assert stats.binomtest(int(plan.patched.sum()), 4000).pvalue > 1e-3
    names = [OPERATIONS[number] for number in np.unique(plan.operation)]
    assert sorted(names) == sorted({*NAMES, "mirror", "invert"} - {"autocontrast"})
    assert stats.chisquare(np.unique(plan.operation, return_counts=True)[1]).pvalue > 1e-3
    assert stats.chisquare(np.bincount(plan.mixing.flatten(), minlength=4)).pvalue > 1e-3
    assert stats.kstest(plan.level.flatten(), stats.uniform(0.1, 2.9).cdf).pvalue > 1e-3
    assert stats.kstest(plan.share.flatten(), stats.uniform.cdf).pvalue > 1e-3
    a, b = plan.powers.reshape(2, -1)
    assert stats.kstest(a[b > 0], stats.beta(3, 1).cdf).pvalue > 1e-3
    assert stats.kstest(a[b < 0] - 1, stats.beta(1, 3).cdf).pvalue > 1e-3
    assert stats.binomtest(int((b > 0).sum()), b.size).pvalue > 1e-3


def test_boxes_are_those_of_the_official_code() -> None:
    assert patch_sizes(32, 32).tolist() == [4, 8, 16, 32]
    assert patch_sizes(40, 32).tolist() == [4, 8, 16, 32]
    assert patch_sizes(7, 9).tolist() == [2, 2, 3, 7]
    assert patch_sizes(1, 5).tolist() == [1, 1, 1, 1]
    count = 60_000
    boxes = ipmix_plan.draw_boxes(Key("boxes").generator(), (1, count), 32, 32)[0]
    generator, sides, places = np.random.default_rng(0), [], []
    for _ in range(count):
        size = int(generator.choice([4, 8, 16, 32]))
        top = int(generator.integers(0, 32 - size, endpoint=True))
        tall = size if generator.random() < 0.5 else int(generator.integers(2, size, endpoint=True))
        sides.append(tall)
        places.append(top)
    for column, lengths in ((0, boxes[:, 2] - boxes[:, 0]), (1, boxes[:, 3] - boxes[:, 1])):
        for drawn, reference in ((lengths, sides), (boxes[:, column], places)):
            table = [np.bincount(values, minlength=33) for values in (drawn, reference)]
            kept = np.stack(table)[:, np.sum(table, axis=0) > 0]
            assert stats.chi2_contingency(kept).pvalue > 1e-3
    square = (boxes[:, 2] - boxes[:, 0]) == (boxes[:, 3] - boxes[:, 1])
    by_chance = np.mean([1 / (size - 1) for size in (4, 8, 16, 32)])
    assert abs(square.mean() - (0.5 + 0.5 * by_chance)) < 4 * 0.5 / count**0.5
    assert (boxes[:, 2:] <= 32).all()


def test_random_pixels_have_the_drawn_share() -> None:
    images, pictures = torch.zeros(2, 3, 200, 200, dtype=torch.uint8), torch.ones(2, 3, 200, 200, dtype=torch.uint8)
    by_pixel, shares = torch.tensor([True, False]), torch.tensor([0.3, 0.6])
    mixed = patch_mixing.random_mix(images, pictures, shares, by_pixel, torch.tensor([5, 6])).double()
    assert torch.equal(mixed[0, 0], mixed[0, 1])
    assert not torch.equal(mixed[1, 0], mixed[1, 1])
    for one, share in zip(mixed, shares, strict=True):
        assert abs(1 - one[0].mean() - share) < 4 * 0.5 / 200
    channels = mixed[1].flatten(1)
    assert torch.corrcoef(channels).triu(1).abs().max() < 4 / 200


def test_loss_is_augmixs_with_jsd_and_plain_without() -> None:
    images, labels = photographs(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    for jsd in (True, False):
        method, recorder = ready(IpMixProcedural(pictures=PICTURES, jsd=jsd), images)
        draws = method.draw(Key(0), shape_of(images))
        views = method.views(images, normalise, draws)
        loss = method.loss(recorder, Batch(views, labels), draws)  # type: ignore[arg-type]
        logits = [recorder(view).detach().double() for view in views]
        expected = cross_entropy(logits[0], labels).mean()
        if jsd:
            p = torch.stack(logits).softmax(-1)
            mixture = p.mean(0)
            expected = expected + 12 * (p * (p / mixture).log()).sum(-1).mean()
        torch.testing.assert_close(loss.total.detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_one_graph() -> None:
    check_one_graph(IpMixProcedural(pictures=PICTURES), photographs(4, 3, 8, 8), [Key("graph", n) for n in range(3)])


def test_draws_depend_on_the_key_alone() -> None:
    shape = BatchShape(5, 3, 16, 24)
    first, again, other = (IpMixProcedural().draw(Key(number), shape) for number in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first.tensors)
    assert not torch.equal(first["m"], other["m"])


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photographs(3, 3, 16, 18)
    views, inside, mix = IpMixProcedural.views, patch_mixing.inside, patch_mixing.random_mix
    formula, cut = patch_mixing.formula_mix, patch_mixing.cut

    def changed(**wrong: Any) -> Any:
        def faulty(self: IpMixProcedural, images: Tensor, normalise: Any, draws: Draws) -> tuple[Tensor, ...]:
            tensors = {name: wrong[name](value) if name in wrong else value for name, value in draws.tensors.items()}
            return views(self, images, normalise, Draws(tensors=tensors))

        return faulty

    faults: dict[str, tuple[Any, str, Any]] = {
        "powers swapped": (IpMixProcedural, "views", changed(powers=lambda powers: powers.flip(1))),
        "formulas swapped": (IpMixProcedural, "views", changed(multiplied=lambda chosen: ~chosen)),
        "share of the picture": (IpMixProcedural, "views", changed(share=lambda share: 1 - share)),
        "pixels and elements swapped": (IpMixProcedural, "views", changed(by_pixel=lambda chosen: ~chosen)),
        "one picture for all": (IpMixProcedural, "views", changed(picture=lambda one: one[:1].expand_as(one))),
        "strength swapped": (IpMixProcedural, "views", changed(m=lambda m: 1 - m)),
        "weights of the next chain": (IpMixProcedural, "views", changed(weights=lambda weights: weights.roll(1, 1))),
        "one noise for all steps": (IpMixProcedural, "views", changed(seeds=lambda seeds: seeds[:1].expand_as(seeds))),
        "clipped": (patch_mixing, "levels", lambda values, wrap: levels(values, False)),
        "rounded": (patch_mixing, "levels", lambda values, wrap: levels(values + 0.5 / 255, wrap)),
        "box transposed": (patch_mixing, "inside", lambda boxes, *rest: inside(boxes[:, [1, 0, 3, 2]], *rest)),
        "box one too small": (
            patch_mixing,
            "inside",
            lambda boxes, *rest: inside(boxes + boxes.new([1, 0, 0, 0]), *rest),
        ),
        "patch not kept inside": (patch_mixing, "inside", lambda boxes, outer, inner: inner),
        "image and picture swapped": (patch_mixing, "random_mix", lambda a, b, *rest: mix(b, a, *rest)),
        "formula with the picture first": (patch_mixing, "formula_mix", lambda a, b, *rest: formula(b, a, *rest)),
        "nothing equalized": (patch_mixing, "equalize", lambda chosen: chosen),
        "other bits and levels cut": (patch_mixing, "cut", lambda chosen, cuts: cut(chosen, cuts ^ 0x10)),
    }
    for name, (owner, attribute, fault) in faults.items():
        with monkeypatch.context() as patched:
            patched.setattr(owner, attribute, fault)
            with pytest.raises(AssertionError):
                for number in range(4):
                    check_views(method_for(images), images, Key("views", number))
                pytest.fail(f"not caught: {name}")
