"""What every method owes the harness, whatever it does."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from contract_cells import (
    TASK,
    Cell,
    NoHostSync,
    arms,
    gradients,
    make_backbone,
    make_cell,
    make_images,
    make_method,
    normalise,
    reasons,
    running_cells,
    same_bits,
    shape_of,
)

from bench.config.catalogue import method_facts, method_names
from methods.api import Method, guided
from methods.ops.keys import Key


def test_a_method_that_cannot_run_says_why_in_a_sentence() -> None:
    for cell, reason in reasons().items():
        if reason is not None:
            assert reason == " ".join(reason.split()), cell
            assert len(reason.split()) >= 4, cell


def test_every_arm_runs_on_some_backbone() -> None:
    assert {arm for (arm, _), reason in reasons().items() if reason is None} == set(arms())


@pytest.mark.parametrize("implementation", method_names())
def test_facts_read_from_source_are_the_class_facts(implementation: str) -> None:
    facts, method = method_facts(implementation), make_method(implementation)
    assert isinstance(method, Method)
    assert (facts.version, facts.paper, facts.family) == (method.version, method.paper, method.family)
    assert facts.title == method.title != ""
    assert method.family in ("none", "input", "feature", "single-image", "saliency", "learned", "transformer")
    assert facts.summary


def test_loss_is_finite_and_every_branch_trains_everything(cell: Cell) -> None:
    own_ones_trained: set[str] = set()
    for branch, draws in cell.draws_of_all_branches().items():
        fresh = cell.again()
        loss = fresh.loss(draws)
        assert loss.total.shape == (), branch
        assert loss.total.dtype == torch.float32, branch
        assert torch.isfinite(loss.total), branch
        for name, part in loss.parts.items():
            assert part.shape == (), name
            assert not part.requires_grad, name
            assert torch.isfinite(part), name
        share = loss.parts.get("share_kept")
        assert (share is None) == (type(fresh.method).mixes == "nothing"), "a mixing method reports share_kept"
        assert share is None or 0 <= share <= 1
        loss.total.backward()
        for name, gradient in gradients(fresh.backbone, fresh.method).items():
            assert gradient is not None, f"{branch}: no gradient for {name}, which DDP would wait for"
            assert torch.isfinite(gradient).all(), f"{branch}: {name}"
        assert sum(float(value.abs().sum()) for value in gradients(fresh.backbone).values() if value is not None) > 0
        own_ones_trained |= {
            name for name, value in gradients(fresh.method).items() if value is not None and value.any()
        }
    assert own_ones_trained == set(gradients(cell.method))


def test_same_key_same_bits(cell: Cell) -> None:
    other = cell.again()
    for number in range(6):
        draws, repeated = cell.draw(number), other.draw(number)
        assert draws.branch == repeated.branch
        assert list(draws.tensors) == list(repeated.tensors)
        assert same_bits(draws.tensors, repeated.tensors)
    for draws in cell.draws_of_all_branches().values():
        first, second = cell.again(), cell.again()
        assert same_bits(first.batch(draws).views, second.batch(draws).views)
        losses = first.loss(draws), second.loss(draws)
        assert same_bits((losses[0].total, losses[0].parts), (losses[1].total, losses[1].parts))
        for loss in losses:
            loss.total.backward()
        left, right = gradients(first.backbone, first.method), gradients(second.backbone, second.method)
        assert same_bits([left[name] for name in left], [right[name] for name in left])


def test_draws_are_small_tensors_on_the_host_and_differ_between_keys(arm: str) -> None:
    method, shape = make_method(arm), shape_of(make_images(4))
    method.setup(make_backbone("test_vit"), TASK)
    many = [method.draw(Key("contract", number), shape) for number in range(12)]
    for draws in many:
        for name, tensor in draws.tensors.items():
            assert tensor.device.type == "cpu", name
            assert tensor.numel() <= shape.size * shape.height * shape.width, name
            assert not tensor.requires_grad, name
    if many[0].tensors:
        first = many[0]
        assert any(draws.branch != first.branch or not same_bits(draws.tensors, first.tensors) for draws in many[1:])


def test_global_random_states_are_untouched(cell: Cell) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    for draws in cell.draws_of_all_branches().values():
        fresh = cell.again()
        fresh.method.setup(fresh.backbone, TASK)
        fresh.loss(draws).total.backward()
        fresh.method.after_step(fresh.backbone, 0.5)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_guide_leaves_the_network_alone_and_never_waits_for_the_device(cell: Cell) -> None:
    for branch, draws in cell.draws_of_all_branches().items():
        batch = cell.batch(draws)
        before = copy.deepcopy((dict(cell.backbone.state_dict()), dict(cell.method.state_dict()), batch.views))
        with NoHostSync():
            added = cell.method.guide(cell.backbone, batch, draws)
        assert not added.keys() & draws.tensors.keys(), branch
        assert not any(tensor.requires_grad for tensor in added.values()), branch
        assert same_bits((dict(cell.backbone.state_dict()), dict(cell.method.state_dict()), batch.views), before), (
            branch
        )
        assert all(parameter.grad is None for parameter in cell.backbone.parameters()), branch


def test_batch_and_draws_are_not_changed(cell: Cell) -> None:
    for draws in cell.draws_of_all_branches().values():
        kept = copy.deepcopy((cell.images, cell.labels, dict(draws.tensors)))
        batch = cell.batch(draws)
        views = copy.deepcopy(batch.views)
        told = guided(cell.method, cell.backbone, batch, draws)
        cell.method.loss(cell.backbone, batch, told).total.backward()
        assert same_bits(batch.views, views)
        assert same_bits((cell.images, cell.labels, dict(draws.tensors)), kept)


def test_views_are_normalised_images_of_the_same_size(arm: str) -> None:
    method = make_method(arm)
    method.setup(make_backbone("test_vit"), TASK)
    for height, width in ((64, 64), (24, 40)):
        images = make_images(5, height, width)
        for number in range(4):
            for view in method.views(images, normalise, method.draw(Key("views", number), shape_of(images))):
                assert view.shape == images.shape
                assert view.dtype == torch.float32
                assert float(view.min()) >= -2.01
                assert float(view.max()) <= 2.01


def test_evaluation_mixes_nothing_after_a_step(cell: Cell) -> None:
    images = normalise(cell.images)
    for draws in cell.draws_of_all_branches().values():
        cell.loss(draws).total.backward()
        trained = cell.backbone.model.eval()
        assert torch.equal(cell.backbone(images), trained(images))
        alone = torch.cat([cell.backbone(image[None]) for image in images])
        torch.testing.assert_close(cell.backbone(images), alone, rtol=1e-3, atol=1e-4)
        cell.backbone.train()


def test_state_dict_carries_a_method_over(cell: Cell) -> None:
    with torch.no_grad():
        for number, tensor in enumerate([*cell.method.parameters(), *cell.method.buffers()]):
            if tensor.is_floating_point():
                tensor.add_(0.01 * (number + 1))
    restored = replace(cell, method=make_method(cell.arm))
    restored.method.setup(cell.backbone, TASK)
    restored.method.load_state_dict(copy.deepcopy(cell.method.state_dict()))
    for draws in cell.draws_of_all_branches().values():
        left, right = cell.again().loss(draws), restored.again().loss(draws)
        assert same_bits((left.total, left.parts), (right.total, right.parts))


def test_own_parameters_are_in_the_optimiser_once(cell: Cell) -> None:
    grouped = [parameter for group in cell.method.param_groups() for parameter in group["params"]]
    own = [parameter for parameter in cell.method.parameters() if parameter.requires_grad]
    assert sorted(map(id, grouped)) == sorted(map(id, own))
    assert not {id(parameter) for parameter in cell.backbone.parameters()} & {id(parameter) for parameter in own}


def test_after_step_leaves_the_backbone_alone(cell: Cell) -> None:
    cell.loss(cell.draw(0)).total.backward()
    before = copy.deepcopy(cell.backbone.state_dict())
    for progress in (0.1, 1.0):
        cell.method.after_step(cell.backbone, progress)
    assert same_bits(before, cell.backbone.state_dict())


def test_bfloat16_autocast_stays_finite(cell: Cell) -> None:
    for branch, draws in cell.draws_of_all_branches().items():
        fresh = cell.again()
        batch = fresh.batch(draws)
        with torch.autocast("cpu", torch.bfloat16):
            told = guided(fresh.method, fresh.backbone, batch, draws)
            loss = fresh.method.loss(fresh.backbone, batch, told)
        assert torch.isfinite(loss.total), branch
        loss.total.backward()
        for name, gradient in gradients(fresh.backbone, fresh.method).items():
            assert gradient is not None, f"{branch}: {name}"
            assert torch.isfinite(gradient).all(), f"{branch}: {name}"


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("name", running_cells(), ids="-".join)
def test_odd_batches_and_a_batch_of_one(name: tuple[str, str], size: int) -> None:
    cell = make_cell(*name, size=size)
    for branch, draws in cell.draws_of_all_branches().items():
        loss = cell.loss(draws)
        loss.total.backward()
        assert torch.isfinite(loss.total), branch
