"""Draws of several steps at once and their one copy: no number changes."""

from __future__ import annotations

import pytest
import torch

from bench.config.catalogue import method_names
from bench.run.build import build_method
from bench.spec import MethodSpec
from bench.train.drawing import Drawing
from bench.train.transfer import ALIGNMENT, move_together
from methods.api import BatchShape, Draws
from methods.ops.keys import Key

CPU = torch.device("cpu")
SHAPE = (6, 1, 16, 16)


def assert_same(one: Draws, other: Draws) -> None:
    assert one.branch == other.branch
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert tensor.dtype == other.tensors[name].dtype
        assert torch.equal(tensor, other.tensors[name]), name


@pytest.mark.parametrize("implementation", method_names())
def test_prepared_draws_are_those_of_the_step_alone(implementation):
    """Against the method asked directly, with the stream's path and the progress written out here."""
    method = build_method(MethodSpec(implementation=implementation))
    drawing = Drawing(method, seed=5, epochs=4, steps_per_epoch=10, device=CPU)
    drawing.prepare([((2, step, micro), SHAPE) for step in range(3, 6) for micro in range(2)])
    for place in ((2, 3, 0), (2, 5, 1), (2, 6, 0), (1, 3, 0)):
        epoch, step, micro = place
        shape = BatchShape(*SHAPE, (epoch + step / 10) / 4)
        expected = method.draw(Key(5, "method", epoch, step, micro), shape)
        assert_same(drawing.at(place, SHAPE), expected)
    small = (3, *SHAPE[1:])
    expected = method.draw(Key(5, "method", 2, 3, 0), BatchShape(*small, (2 + 3 / 10) / 4))
    assert_same(drawing.at((2, 3, 0), small), expected)


def test_a_method_is_asked_once_a_step_and_told_the_progress():
    method = build_method(MethodSpec(implementation="mixup"))
    asked: list[BatchShape] = []
    draw = method.draw
    method.draw = lambda key, shape: (asked.append(shape), draw(key, shape))[1]  # type: ignore[method-assign]
    drawing = Drawing(method, seed=0, epochs=1, steps_per_epoch=8, device=CPU)
    drawing.prepare([((0, step, 0), SHAPE) for step in range(4)])
    for step in range(4):
        drawing.at((0, step, 0), SHAPE)
    assert asked == [BatchShape(*SHAPE, step / 8) for step in range(4)]


def test_one_buffer_carries_tensors_of_every_kind():
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.tensor(0.25),
        torch.randint(-9, 9, (7,), generator=generator),
        torch.rand(3, 5, generator=generator).T,
        torch.tensor([True, False, True]),
        torch.empty(0, 6, dtype=torch.float64),
        torch.randint(0, 256, (5, 3), generator=generator).to(torch.uint8),
        torch.rand(2, 2, dtype=torch.float64, generator=generator),
    ]
    moved = move_together(given, CPU)
    for before, after in zip(given, moved, strict=True):
        assert after.dtype == before.dtype
        assert torch.equal(after, before)
        assert after.is_contiguous()
        assert after.storage_offset() * after.element_size() % ALIGNMENT == 0
    assert len({tensor.untyped_storage().data_ptr() for tensor in moved}) == 1
    moved[0].fill_(9.0)
    assert given[0] == 0.25
    assert move_together([], CPU) == []
