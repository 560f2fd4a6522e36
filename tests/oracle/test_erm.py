"""Plain training against a loop over the batch with torch's own loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.api import Batch
from methods.erm import Erm
from methods.ops.keys import Key
from tests.oracle.mixing_checks import (
    CLASSES,
    check_normalised_once,
    cross_entropy,
    normalise,
    photographs,
    ready,
    shape_of,
)


def check_equals_a_loop(size: int, channels: int, height: int, width: int, criterion: object = cross_entropy) -> None:
    images = photographs(size, channels, height, width, seed=width)
    labels = torch.arange(size) % CLASSES
    method, recorder = ready(Erm(), images, criterion)
    draws = method.draw(Key("erm", size), shape_of(images))
    (view,) = method.views(images, normalise, draws)
    loss = method.loss(recorder, Batch((view,), labels), draws)  # type: ignore[arg-type]
    assert torch.equal(recorder.seen.pop(), view)
    losses = [nn.CrossEntropyLoss()(recorder(normalise(images[i : i + 1])), labels[i : i + 1]) for i in range(size)]
    torch.testing.assert_close(loss.total, torch.stack(losses).mean())
    assert not loss.parts
    assert not draws.tensors


@settings(max_examples=20, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12))
def test_equals_a_loop(size: int, channels: int, height: int, width: int) -> None:
    check_equals_a_loop(size, channels, height, width)


def test_images_are_normalised_once() -> None:
    check_normalised_once(Erm())


def test_a_planted_fault_is_caught() -> None:
    def summed(logits: Tensor, labels: Tensor) -> Tensor:
        return 2 * cross_entropy(logits, labels)

    with pytest.raises(AssertionError):
        check_equals_a_loop(3, 3, 8, 8, summed)
