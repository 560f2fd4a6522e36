"""Occlusion against a loop over images and patches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from evaluation_cases import by_key, context_of, random_backbone, random_feed

from bench.errors import BadInput
from bench.evals.draws import ImageDraws
from bench.evals.occlusion import Occlusion, dropped_patches, occlude
from methods.ops.keys import Key

FEED = random_feed(30, 3, 16, 4)
NET = random_backbone(4, 16)


def slow_top1(share: float, grid: int, seed: int, positions: Sequence[int] = range(30)) -> float:
    """One image and one patch at a time: the patches with the smallest numbers of the image's stream go first."""
    context = context_of(FEED, 4, NET.eval())
    side = 16 // grid
    hits = 0
    for position in positions:
        image = context.normalise(FEED.images[position : position + 1])
        numbers = ImageDraws(Key(seed, "occlusion"), torch.tensor([position])).words("order", grid**2)[0].tolist()
        for patch in sorted(range(grid**2), key=numbers.__getitem__)[: round(share * grid**2)]:
            top, left = side * (patch // grid), side * (patch % grid)
            for row in range(top, top + side):
                for column in range(left, left + side):
                    image[0, :, row, column] = 0
        with torch.no_grad():
            hits += int(NET(image).argmax() == FEED.labels[position])
    return hits / len(positions)


@pytest.mark.parametrize(("grid", "seed"), [(4, 0), (8, 3)])
def test_accuracy_is_that_of_a_loop(grid: int, seed: int) -> None:
    shares = (0.1, 0.5, 0.9)
    found = list(Occlusion(shares=shares, grid=grid, seed=seed).evaluate(context_of(FEED, 4, NET), {}))
    expected = [slow_top1(share, grid, seed) for share in shares]
    assert [metric.value for metric in found] == pytest.approx([*expected, sum(expected) / 3])
    assert len(set(expected)) > 1


def test_a_few_images_a_class_lose_the_patches_that_they_lose_in_the_whole_split() -> None:
    positions = [at for at in range(30) if (FEED.labels[:at] == FEED.labels[at]).sum() < 2]
    assert positions != list(range(len(positions)))
    (first, *_) = Occlusion(shares=(0.5,), per_class=2).evaluate(context_of(FEED, 4, NET), {})
    assert first.value == pytest.approx(slow_top1(0.5, 4, 0, positions))


def test_exact_numbers_of_patches_that_are_nested_and_evenly_spread() -> None:
    index = torch.arange(4000)
    masks = [dropped_patches(index, 4, count, 0) for count in range(17)]
    for count, mask in enumerate(masks):
        assert (mask.sum(dim=(1, 2)) == count).all()
    for fewer, more in pairwise(masks):
        assert (fewer <= more).all()
    # each patch: binomial(4000, 8/16), standard deviation 31.6
    assert np.abs(masks[8].sum(dim=0).numpy() - 2000).max() < 130
    pairs = (masks[8][:, 0, 0] & masks[8][:, 0, 1]).sum().item()
    assert pairs == pytest.approx(4000 * 8 / 16 * 7 / 15, abs=130)


def test_dropped_pixels_are_zero_and_the_others_untouched() -> None:
    images = torch.rand(1, 2, 4, 6) + 1
    dropped = torch.tensor([[[True, False], [False, False]]])
    changed = occlude(images, dropped)
    assert (changed[0, :, :2, :3] == 0).all()
    assert torch.equal(changed[0, :, 2:], images[0, :, 2:])
    assert torch.equal(changed[0, :, :, 3:], images[0, :, :, 3:])


def test_resume_and_batch_size_and_run_seed() -> None:
    evaluator = Occlusion(shares=(0.3, 0.6))
    context = context_of(FEED, 4, NET)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert list(Occlusion(shares=(0.3, 0.6), batch_size=7).evaluate(context, {})) == metrics
    for known in range(4):
        assert list(evaluator.evaluate(context, by_key(metrics[:known]))) == metrics[known:]


def test_grid_must_divide_the_resolution() -> None:
    with pytest.raises(BadInput, match=r"occlusion: grid 7 does not divide the resolution of 16 px; the nearest is 8"):
        list(Occlusion(grid=7).evaluate(context_of(FEED, 4, NET), {}))
    with pytest.raises(BadInput, match="occlusion: shares needs one or more different values"):
        Occlusion(shares=(0.5, 0.5))
