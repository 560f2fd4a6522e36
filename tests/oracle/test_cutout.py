"""Cutout against a loop over images and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from methods import cutout
from methods.api import Batch, BatchShape
from methods.cutout import Cutout
from methods.ops.keys import Key
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, ready, shape_of

CASES = settings(max_examples=25, deadline=None, database=None, derandomize=True)


@CASES
@given(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12), st.floats(0.05, 1))
def test_equals_a_loop_over_pixels(size: int, channels: int, height: int, width: int, side: float) -> None:
    images = photographs(size, channels, height, width, seed=height)
    key = Key("loop", size, height)
    draws = Cutout(side=side).draw(key, shape_of(images))
    centres = key.fold("centre").generator().integers([height, width], size=(size, 2))
    length = max(1, round(side * min(height, width)))
    expected = normalise(images).numpy().copy()
    for image, (down, along) in enumerate(centres):
        for row in range(height):
            for column in range(width):
                if 0 <= row - down + length // 2 < length and 0 <= column - along + length // 2 < length:
                    expected[image, :, row, column] = 0
    (view,) = Cutout(side=side).views(images, normalise, draws)
    np.testing.assert_array_equal(view.numpy(), expected)


def test_centres_are_uniform_and_drawn_per_image() -> None:
    boxes = Cutout(side=1 / 6).draw(Key("uniform"), BatchShape(6000, 3, 6, 9))["boxes"]
    cells = boxes[:, 0] * 9 + boxes[:, 2]
    assert stats.chisquare(torch.bincount(cells, minlength=54).numpy()).pvalue > 1e-3


def test_mean_erased_share() -> None:
    """16 of 32 pixels lose 1/8 of their length a side to the clipping: 14/32 a side on average."""
    boxes = Cutout().draw(Key("mean"), BatchShape(10000, 3, 32, 32))["boxes"]
    share = ((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])).double() / 1024
    assert abs(share.mean().item() - (14 / 32) ** 2) < 4 * share.std().item() / 100


def test_labels_and_loss_are_those_of_plain_training() -> None:
    images, labels = photographs(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    method, recorder = ready(Cutout(), images)
    views = method.views(images, normalise, method.draw(Key(0), shape_of(images)))
    loss = method.loss(recorder, Batch(views, labels), method.draw(Key(0), shape_of(images)))  # type: ignore[arg-type]
    assert loss.total == cross_entropy(recorder(views[0]), labels).mean()
    assert not loss.parts


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cutout.box_masks
    faults = {
        "one box for all": lambda boxes, height, width: right(boxes[:1], height, width),
        "height and width swapped": lambda boxes, height, width: right(boxes[:, [2, 3, 0, 1]], height, width),
        "the rest erased": lambda boxes, height, width: ~right(boxes, height, width),
    }
    for fault in faults.values():
        with monkeypatch.context() as patched:
            patched.setattr(cutout, "box_masks", fault)
            with pytest.raises(AssertionError):
                test_equals_a_loop_over_pixels.hypothesis.inner_test(5, 3, 12, 9, 0.3)  # type: ignore[attr-defined]
