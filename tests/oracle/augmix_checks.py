"""Checks of AugMix against slow, per-image code; planted-fault tests expect them to fail."""

from __future__ import annotations

import numpy as np
import torch
from timm.loss import JsdCrossEntropy
from torch import Tensor

from methods.api import Batch, Draws
from methods.augmix import AugMix
from methods.ops.keys import Key
from tests.oracle.mixing_checks import MEAN, STD, normalise, photographs, ready, shape_of
from tests.oracle.pil_operations import pil_chain


def check_views_equal_pil(method: AugMix, images: Tensor, key: Key, strength: float | None = None) -> float:
    """All views against one image at a time through PIL and float64 NumPy, given the drawn plan, weights and strengths.

    `strength`, if any, takes the place of the drawn ones. Returns the largest difference in levels.
    """
    shape = shape_of(images)
    draws, plan = with_strength(method.draw(key, shape), strength), method.plan(key, shape)
    views = method.views(images, normalise, draws)
    worst = 0.0

    def compare(view: Tensor, pixels: np.ndarray) -> None:
        nonlocal worst
        expected = (pixels / 255 - MEAN) / STD
        difference = float(np.abs(view.double().numpy() - expected).max()) * STD * 255
        assert difference < 1e-3, f"views differ by up to {difference} levels"
        worst = max(worst, difference)

    clean = images.double().numpy()
    assert len(views) == (3 if method.jsd else 1)
    if method.jsd:
        compare(views[0], clean)
    for v, view in enumerate(views[1:] if method.jsd else views):
        for i in range(len(images)):
            share = float(draws["m"][v, i])
            mixed = np.zeros(images.shape[1:])
            for k in range(method.width):
                end = pil_chain(images[i], plan, (v * method.width + k) * len(images) + i)
                mixed += float(draws["weights"][v, k, i]) * end.double().numpy()
            compare(view[i], (1 - share) * clean[i] + share * mixed)
    return worst


def with_strength(draws: Draws, strength: float | None) -> Draws:
    """The draws with one strength m for all images, unless it is None."""
    if strength is None:
        return draws
    return Draws(draws.branch, {**draws.tensors, "m": torch.full_like(draws["m"], strength)})


def check_drawn_per_image(method: AugMix) -> None:
    """A batch of copies of one image: almost no two results are alike, within a view or between the two views.

    This holds for the draws as they are, and with weights, strengths or both made the same for all.
    """
    images = photographs(1, 3, 16, 16).repeat(12, 1, 1, 1)
    draws = method.draw(Key("copies"), shape_of(images))
    uniform = torch.full_like(draws["weights"], 1 / method.width)
    whole = torch.ones_like(draws["m"])
    for fixed in ({}, {"weights": uniform}, {"m": whole}, {"weights": uniform, "m": whole}):
        views = method.views(images, normalise, Draws(tensors={**draws.tensors, **fixed}))
        results = torch.cat(views[1:] if method.jsd else views).flatten(1)
        alike = (torch.cdist(results, results) < 1e-3).sum().item() - len(results)
        assert alike <= 4, f"{alike} pairs of results are the same with {list(fixed)} fixed"
    for name in ("weights", "m"):
        values = draws[name].flatten()
        assert len(values.unique()) == len(values), f"{name} are shared"


def check_loss_equals_timm(method: AugMix) -> None:
    """The whole JSD loss and its gradient against timm's JsdCrossEntropy without label smoothing."""
    images, labels = photographs(5, 3, 8, 8), torch.tensor([0, 4, 2, 2, 1])
    method_, recorder = ready(method, images)
    views = method_.views(images, normalise, method_.draw(Key("loss"), shape_of(images)))
    reference = JsdCrossEntropy(num_splits=3, alpha=method.jsd_weight, smoothing=0)
    expected = reference(recorder(torch.cat(views)), labels.repeat(3))
    (expected_gradient,) = torch.autograd.grad(expected, recorder.weight)
    recorder.seen.clear()
    loss = method_.loss(recorder, Batch(views, labels), method_.draw(Key("loss"), shape_of(images)))
    (gradient,) = torch.autograd.grad(loss.total, recorder.weight)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)
    parts = loss.parts
    torch.testing.assert_close(parts["classification"] + method.jsd_weight * parts["jsd"], loss.total.detach())
    assert [len(seen) for seen in recorder.seen] == [15]
