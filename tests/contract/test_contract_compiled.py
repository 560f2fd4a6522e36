"""Compiled steps equal eager ones: without graph break in every cell, in each of inductor's modes in one."""

from __future__ import annotations

import shutil

import pytest
import torch
from contract_cells import Cell, gradients, make_cell, running_cells

from bench.config.catalogue import method_names
from bench.train.step import TrainStep, compiled_step
from methods.api import guided

COMPILER = shutil.which("g++") or shutil.which("clang++")
ALL_BRANCHES_ON = "test_vit"
"""On the other backbones the last branch by name stands for the rest."""
INDUCTOR_CELLS = (
    ("cutmix", "contract_preact", "max-autotune"),
    ("manifold_mixup", "contract_preact", "reduce-overhead"),
    ("alignmix", "test_vit", "default"),
)
"""Small nets, two of them the same, since inductor runs the C++ compiler for every new kernel; each protocol mode once.
On a CPU no mode makes CUDA graphs."""


def assert_compiled_equals_eager(cell: Cell, branch: str, mode: str) -> None:
    torch._dynamo.reset()
    draws = cell.draws_of_all_branches()[branch]
    eager, other = cell.again(), cell.again()
    step = compiled_step(TrainStep(other.backbone, other.method), mode)
    for _ in range(2):
        batch = eager.batch(draws)
        told = guided(eager.method, eager.backbone, batch, draws)
        expected = eager.method.loss(eager.backbone, batch, told)
        actual = step(batch.views, batch.labels, draws.branch, dict(told.tensors))
        torch.testing.assert_close(actual.total, expected.total, rtol=1e-4, atol=1e-5)
        assert actual.parts.keys() == expected.parts.keys()
        for name, part in expected.parts.items():
            torch.testing.assert_close(
                actual.parts[name], part, rtol=1e-4, atol=1e-5, msg=lambda message, name=name: f"{name}: {message}"
            )
        expected.total.backward()
        actual.total.backward()
    compiled = gradients(other.backbone, other.method)
    for name, gradient in gradients(eager.backbone, eager.method).items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            compiled[name],
            gradient,
            rtol=1e-3,
            atol=1e-3 * scale + 1e-5,
            msg=lambda message, name=name: f"{name}: {message}",
        )
    for (name, buffer), after in zip(eager.backbone.named_buffers(), other.backbone.buffers(), strict=True):
        torch.testing.assert_close(
            after, buffer, rtol=1e-4, atol=1e-5, msg=lambda message, name=name: f"{name}: {message}"
        )
    images = eager.batch(draws).views[0]
    torch.testing.assert_close(other.backbone.eval()(images), eager.backbone.eval()(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("arm", "backbone_name"), running_cells(method_names()))
def test_without_graph_break(arm: str, backbone_name: str) -> None:
    cell = make_cell(arm, backbone_name)
    branches = sorted(cell.draws_of_all_branches())
    for branch in branches if backbone_name == ALL_BRANCHES_ON else branches[-1:]:
        assert_compiled_equals_eager(cell, branch, "aot_eager")


@pytest.mark.skipif(not COMPILER, reason="torch's inductor needs a C++ compiler on a CPU")
@pytest.mark.parametrize(("arm", "backbone_name", "mode"), INDUCTOR_CELLS)
def test_through_inductor(arm: str, backbone_name: str, mode: str) -> None:
    cell = make_cell(arm, backbone_name)
    assert_compiled_equals_eager(cell, max(cell.draws_of_all_branches()), mode)
