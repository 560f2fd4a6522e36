"""Shares kept: whether draws alone tell them, and how many steps are taken where they do not."""

from __future__ import annotations

import pytest
import torch

from bench.evals.mixed_labels import Step
from methods.api import BatchShape, Draws
from tools.method_facts import BATCH, fitting, kept
from tools.share_kept import CHECKED, DRAWN, STEPS, find_readings, measure

SHAPE = BatchShape(2, 3, 8, 8)


def images_of(resolution: int = 64) -> torch.Tensor:
    size = (2 * BATCH, 3, resolution, resolution)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "how"), [("mixup", DRAWN), ("recursivemix", DRAWN), ("regmixup", DRAWN),
                                           ("smoothmix", STEPS), ("guidedmixup_sr", STEPS)])  # fmt: skip
def test_how_shares_are_measured(name: str, how: str) -> None:
    method, backbone = fitting(name)
    found = kept(method, backbone, images_of(), 100)
    assert (found.how, len(found.shares)) == (how, 100)
    assert found.summary()["count"] == 100


def test_draws_alone_give_the_shares_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    method, backbone = fitting("multimix")
    images = images_of()
    alone = kept(method, backbone, images, CHECKED + 8).shares
    monkeypatch.setattr("tools.share_kept.find_readings", lambda steps, shape: None)
    assert kept(method, backbone, images, CHECKED + 8).shares == pytest.approx(alone, abs=1e-6)


def step(share: float, branch: str = "", **drawn: float) -> Step:
    return Step([], Draws(branch, {name: torch.tensor(value) for name, value in drawn.items()}), share)


def test_a_reading_has_to_fit_in_every_step_of_every_branch() -> None:
    steps = [step(0.25, lam=0.25, other=0.25), step(0.5, lam=0.5, other=0.3), step(0.6, "b", half=0.2)]
    readings = find_readings(steps, SHAPE)
    assert readings is not None
    assert {branch: name for branch, (name, _) in readings.items()} == {"": "lam", "b": "half"}
    assert find_readings([*steps, step(0.7, lam=0.6)], SHAPE) is None
    assert find_readings([*steps, step(0.6, "c")], SHAPE) is None


def test_a_branch_that_was_not_checked_is_taken_as_a_step() -> None:
    steps = [step(0.3, lam=0.3)] * CHECKED + [step(0.9, "rare", lam=0.1), step(0.4, lam=0.4)]
    found = measure(steps.__getitem__, lambda number: steps[number].draws, SHAPE, len(steps))
    assert found.shares == pytest.approx([0.3] * CHECKED + [0.9, 0.4], abs=1e-6)
