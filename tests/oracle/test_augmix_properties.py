"""AugMix and its consistency loss for any batch, image size and settings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.api import Batch, BatchShape
from methods.augmix import AugMix
from methods.ops.jensen_shannon import jensen_shannon
from methods.ops.keys import Key
from tests.oracle.augmix_checks import check_views_equal_pil, with_strength
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, ready, shape_of
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
        "severity": st.integers(1, 10),
        "width": st.integers(1, 4),
        "depth": st.integers(-1, 4),
        "alpha": st.sampled_from([0.2, 1.0, 5.0]),
        "jsd": st.booleans(),
    }
)


@CASES
@given(shapes(1, 24), SETTINGS, st.sampled_from([None, 0.0, 1.0]), SEEDS)
def test_views_equal_pil(shape: Shape, chosen: dict[str, Any], strength: float | None, seed: int) -> None:
    check_views_equal_pil(AugMix(**chosen), noise_images(shape, seed), Key("properties", seed), strength)


@CASES
@given(shapes(1, 24), SETTINGS, SEEDS)
def test_strength_zero_gives_back_the_image(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    method, images = AugMix(**chosen), noise_images(shape, seed)
    for view in method.views(images, normalise, with_strength(method.draw(Key(seed), shape_of(images)), 0.0)):
        assert torch.equal(view, normalise(images.float()))


@CASES
@given(shapes(1, 24), SETTINGS, SEEDS)
def test_weights_and_strengths_are_shares(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    method = AugMix(**chosen)
    draws = method.draw(Key(seed), BatchShape(*shape))
    views = 2 if chosen["jsd"] else 1
    assert draws["weights"].shape == (views, chosen["width"], shape[0])
    assert draws["m"].shape == (views, shape[0])
    assert (draws["weights"] >= 0).all()
    assert ((draws["m"] >= 0) & (draws["m"] <= 1)).all()
    torch.testing.assert_close(draws["weights"].sum(1), torch.ones(views, shape[0]), rtol=0, atol=1e-6)


@CASES
@given(shapes(1, 24), SETTINGS, SEEDS)
def test_views_keep_range_key_and_image_apart(shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    images = noise_images(shape, seed)
    for check in (check_range, check_key_alone_decides, check_other_images_change_nothing):
        check(lambda: AugMix(**chosen), images, Key("views", seed))


def slow_divergence(logits: np.ndarray) -> float:
    """The divergence of logits (V, B, K) one image, view and class at a time in float64."""
    views, size, classes = logits.shape
    total = 0.0
    for image in range(size):
        p = [np.exp(one[image] - one[image].max()) / np.exp(one[image] - one[image].max()).sum() for one in logits]
        for view in range(views):
            for k in range(classes):
                mixture = max(sum(one[k] for one in p) / views, 1e-7)
                total += p[view][k] * math.log(p[view][k] / mixture) / views if p[view][k] > 0 else 0.0
    return total / size


@CASES
@given(st.integers(2, 4), st.integers(1, 6), st.integers(2, 7), st.sampled_from([0.1, 3.0, 60.0]), SEEDS)
def test_divergence_equals_a_loop(views: int, size: int, classes: int, scale: float, seed: int) -> None:
    logits = scale * torch.randn(views, size, classes, generator=torch.Generator().manual_seed(seed))
    logits.requires_grad_()
    divergence = jensen_shannon(tuple(logits))
    np.testing.assert_allclose(
        divergence.item(), slow_divergence(logits.detach().double().numpy()), rtol=1e-4, atol=1e-6
    )
    assert -1e-6 <= divergence <= math.log(views) + 1e-6
    torch.testing.assert_close(jensen_shannon(tuple(logits.roll(1, 0))), divergence, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(divergence, logits)
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(views, size), rtol=0, atol=1e-5)


@CASES
@given(shapes(1, 12), st.sampled_from([0.0, 1.0, 12.0]), SEEDS)
def test_loss_classifies_the_image_and_compares_the_views(shape: Shape, weight: float, seed: int) -> None:
    images = noise_images(shape, seed)
    labels = torch.arange(shape[0]) % CLASSES
    method, recorder = ready(AugMix(jsd_weight=weight), images)
    draws = method.draw(Key(seed), shape_of(images))
    views = method.views(images, normalise, draws)
    loss = method.loss(recorder, Batch(views, labels), draws)  # type: ignore[arg-type]
    assert [len(seen) for seen in recorder.seen] == [3 * shape[0]]
    logits = torch.stack([recorder(view).detach() for view in views])
    expected = cross_entropy(logits[0], labels).mean().item() + weight * slow_divergence(logits.double().numpy())
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-5)
    same = method.loss(recorder, Batch((views[0],) * 3, labels), draws)  # type: ignore[arg-type]
    assert abs(same.parts["jsd"]) < 1e-6
