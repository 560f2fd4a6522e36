"""Co-Mixup against exact optima, and a slow loop over outputs and blocks for a whole step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.backbones.build import build_backbone
from bench.evals.mixed_labels import labelled_step
from bench.spec import BackboneSpec
from methods import comixup
from methods.api import BatchShape, Task
from methods.comixup import CoMixup
from methods.ops import comix_labels as labels_file
from methods.ops import many_labels as many_file
from methods.ops import salient_places as places_file
from methods.ops.block_mix import mix_blocks
from methods.ops.comix_labels import Rules, comix_labels, label_steps
from methods.ops.exact_grid import cheapest_labelling
from methods.ops.input_saliency import input_saliency
from methods.ops.keys import Key
from methods.ops.many_labels import nearly_cheapest_labelling
from methods.ops.puzzle_energy import block_saliency
from methods.ops.salient_places import closeness, salient_places
from tests.oracle.comixup_references import (
    energy,
    least_by_enumeration,
    least_by_integer_program,
    least_of_outputs,
    slow_closeness,
    slow_many,
    slow_outputs,
)
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, shape_of
from tests.oracle.puzzle_references import least_by_maximum_flow
from tests.oracle.saliency_checks import set_up, step

BLOCKS, IMAGES = 4, 20
RULES = Rules(0.32 / 16, 1.0 / 16, 0.83 * 16, sweeps=4, candidates=8)
WITHIN = 0.01


def check_least(unary: Tensor, between: Tensor, exact: Callable[..., float], within: float = 1e-5) -> None:
    found = cheapest_labelling(unary, between)
    for labels, cost, steps in zip(found.numpy(), unary.double().numpy(), between.double().numpy(), strict=True):
        least, reached = exact(cost, steps), energy(labels, cost, steps)
        assert least - within * abs(least) <= reached <= least + within * abs(least)


def random_problem(
    count: int, height: int, width: int, labels: int, strength: float, seed: int
) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    unary = generator.normal(size=(count, height, width, labels)) - 2
    between = strength * generator.random((count, labels, labels))
    return torch.from_numpy(unary).float(), torch.from_numpy(between).float()


def by_enumeration(unary: np.ndarray, between: np.ndarray) -> float:
    return least_by_enumeration(unary, between)[0]


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.floats(0, 2), st.integers(0, 10**6))
def test_labellings_are_the_best_of_all(height: int, width: int, labels: int, strength: float, seed: int) -> None:
    problem = random_problem(2, height, width, labels, strength, seed)
    check_least(*problem, by_enumeration)


@pytest.mark.parametrize(("side", "labels"), [(2, 8), (4, 2)])
def test_labellings_of_larger_problems_are_the_best_of_all(side: int, labels: int) -> None:
    check_least(*random_problem(3, side, side, labels, 0.7, side), by_enumeration)


@pytest.mark.parametrize("side", [4, 8, 16])
def test_energy_of_two_labels_is_the_smallest_cut(side: int) -> None:
    generator = np.random.default_rng(side)
    unary = generator.gamma(0.5, 1.0, (2, side, side, 2)) / side**2
    between = np.stack([weight / side**2 * (1 - np.eye(2)) for weight in (0.3, 1.0)])

    def smallest_cut(cost: np.ndarray, steps: np.ndarray) -> float:
        edge = np.full((side, side), steps[0, 1])
        return least_by_maximum_flow(cost, edge[1:], edge[:, 1:])

    check_least(torch.from_numpy(unary).float(), torch.from_numpy(between).float(), smallest_cut, within=1e-4)


def check_many_labels_equal_a_loop() -> None:
    for seed in range(4):
        generator = np.random.default_rng(seed)
        unary = generator.normal(size=(3, 2, 3, 6))
        between = 0.2 * generator.random((3, 6, 6)) * (1 - np.eye(6))
        between = between + between.transpose(0, 2, 1)
        found = nearly_cheapest_labelling(torch.from_numpy(unary), torch.from_numpy(between), 3)
        for labels, cost, steps in zip(found.numpy(), unary, between, strict=True):
            np.testing.assert_array_equal(labels, slow_many(cost, steps, 3, 0.7))


def test_many_labels_equal_a_loop() -> None:
    check_many_labels_equal_a_loop()


def even_and_spiky(count: int, seed: int) -> Tensor:
    """Random saliency maps (count, 32, 32) of four kinds, from even to spiky."""
    generator = np.random.default_rng(seed)
    shape = generator.choice([0.02, 0.1, 0.5, 2.0], (count, 1, 1))
    return torch.from_numpy(generator.gamma(shape, 1.0, (count, 32, 32))).float()


def real_saliency(count: int) -> Tensor:
    """Saliency of photographs in an untrained network."""
    backbone = build_backbone(BackboneSpec(name="test_resnet"), 5, 3, 32, seed=0)
    images = normalise(photographs(count, 3, 32, 32, seed=4))
    return input_saliency(backbone, images, torch.arange(count) % 5, cross_entropy)


def problems_of_a_step(saliency: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Every labelling problem that a step meets: costs of all labels (P, b, b, L), their steps, the chosen labels."""
    method, met = CoMixup(), []
    original = labels_file._cheapest

    def watched(labels: Any, rules: Rules) -> Tensor:
        chosen = original(labels, rules)
        same = (chosen[..., :1] == labels.first[:, None, None]) & (chosen[..., 1:] == labels.second[:, None, None])
        met.append((labels.unary, rules.beta * label_steps(labels.first, labels.second), same.int().argmax(3)))
        return chosen

    monkeypatch.setattr(labels_file, "_cheapest", watched)
    draws = method.draw(Key("problems"), BatchShape(len(saliency), 3, 32, 32))
    method.shown(saliency, draws["prior"], draws["start"])
    return met


@pytest.mark.parametrize("kind", ["random", "real"])
def test_energies_of_a_step_are_within_one_percent_of_exact_optima(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saliency = real_saliency(IMAGES) if kind == "real" else even_and_spiky(IMAGES, 5)
    met = problems_of_a_step(saliency, monkeypatch)
    assert len(met) == 4 * IMAGES
    for unary, between, labels in met[3::9]:
        cost, steps = unary[0].double().numpy(), between[0].double().numpy()
        assert cost.shape[2] in (IMAGES, IMAGES + 3)
        least, reached = least_by_integer_program(cost, steps), energy(labels[0].numpy(), cost, steps)
        assert least - 1e-5 <= reached <= least + WITHIN * abs(least)


def outputs_energy(shown: Tensor, cost: np.ndarray, gamma: float) -> float:
    """Sum over outputs (M, b, b, 2), all of whole images, of cost and steps, and gamma o_j . o_j' over j != j'."""
    labels, count = shown[..., 0].numpy(), cost.shape[2]
    assert torch.equal(shown[..., 0], shown[..., 1])
    numbers = np.array([np.bincount(one.ravel(), minlength=count) for one in labels])
    overlap = numbers.sum(0) @ numbers.sum(0) - (numbers**2).sum()
    between = RULES.beta * (1 - np.eye(count))
    return sum(energy(one, cost, between) for one in labels) + gamma * overlap


@pytest.mark.parametrize("outputs", [2, 3])
def test_best_of_many_starts_is_within_one_percent_of_the_joint_optimum(
    outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The objective that the alternation lowers: without threshold, half labels and the rule for equal outputs."""
    monkeypatch.setattr(labels_file, "HALVES", ())
    monkeypatch.setattr(labels_file, "same_images_cost", lambda used: torch.zeros(used.shape))
    starts, generator = 16, np.random.default_rng(outputs)
    for saliency in even_and_spiky(3 * outputs, outputs).split(outputs):
        prior = generator.dirichlet([2.0] * outputs)
        blocks = block_saliency(saliency, BLOCKS, BLOCKS).numpy()
        cost = -blocks - 0.05 / 16 * np.log(prior)[:, None, None]
        shown = comix_labels(
            torch.from_numpy(cost).float().expand(starts, -1, -1, -1),
            torch.ones(starts, outputs, dtype=torch.bool),
            torch.eye(outputs).expand(starts, -1, -1),
            torch.from_numpy(generator.integers(0, outputs, (starts, outputs, BLOCKS, BLOCKS))),
            RULES._replace(threshold=0.0),
        )
        price = np.moveaxis(cost, 0, -1)
        least = least_of_outputs(price, RULES.beta, RULES.gamma, outputs)
        reached = [outputs_energy(one, price, RULES.gamma) for one in shown]
        assert least - 1e-5 <= min(reached) <= least + WITHIN * abs(least)


@settings(max_examples=10, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 4), st.integers(4, 12), st.integers(4, 12), st.integers(0, 10**6))
def test_closeness_equals_a_loop(count: int, height: int, width: int, seed: int) -> None:
    saliency = np.random.default_rng(seed).gamma(0.3, 1.0, (count + 2, height, width))
    places = salient_places(torch.from_numpy(saliency))
    real = torch.tensor([[True] * count + [False] * 2])
    found = closeness(places[None], real, 0.3)[0]
    np.testing.assert_allclose(found[:count, :count], slow_closeness(saliency[:count], 0.3), atol=1e-6)
    assert not found[count:].any()
    assert not found[:, count:].any()


def test_images_that_are_salient_in_one_place_are_kept_apart_by_number_alone() -> None:
    found = closeness(torch.ones(1, 3, 2, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool), 0.3)
    assert torch.equal(found[0], torch.eye(3))


SIZE, PART = 7, 4
CHOSEN = {"beta": 0.5, "gamma": 0.2, "eta": 0.1, "threshold": 0.4, "omega": 0.2, "sweeps": 3}


def spiky(*shape: int) -> Tensor:
    """Saliency maps (..., H, W) of a few spikes over faint noise, by which no two places are alike."""
    generator = np.random.default_rng(3)
    return torch.from_numpy(generator.gamma(0.003, 1.0, shape) + 1e-3 * generator.random(shape)).float()


CLASSES_OF_STEP = torch.tensor([0, 4, 2, 1, 3, 0, 2])


def check_step_equals_a_loop(monkeypatch: pytest.MonkeyPatch, seeds: int = 6) -> set[str]:
    """Two parts, of 4 and of 3 images of 16 x 24, with given spiky saliency in 2 x 2 blocks."""
    mattered: set[str] = set()
    for seed in range(seeds):
        images = photographs(SIZE, 3, 16, 24)
        method, net = set_up(CoMixup(part=PART, blocks=2, clean=0.5, alpha=1.0, **CHOSEN), images)  # type: ignore[arg-type]
        spikes = spiky(SIZE, 16, 24).roll(seed, 1).roll(3 * seed, 2)
        monkeypatch.setattr(comixup, "input_saliency", lambda *args, spikes=spikes: spikes)
        draws = method.draw(Key("step", seed), shape_of(images))
        views = method.views(images, normalise, draws)
        loss, _ = step(method, net, views, CLASSES_OF_STEP, draws)
        mixed, own, largest, losses = [], [], [], []
        for first, count in ((0, 4), (4, 3)):
            part = slice(first, first + count)
            given = [values[part].double().numpy() for values in (spikes, draws["prior"])]
            z, rules = slow_outputs(given[0], given[1], draws["start"][part].numpy(), 2, CHOSEN)
            mattered |= rules
            for j in range(count):
                weight = torch.from_numpy(z[j]).float().repeat_interleave(8, 0).repeat_interleave(12, 1)
                mixed.append(sum(weight[..., i] * views[0][first + i] for i in range(count)))
                share = z[j].mean((0, 1))
                logits = net(mixed[-1][None])
                each = [cross_entropy(logits, CLASSES_OF_STEP[[first + i]])[0] for i in range(count)]
                losses.append(sum(share[i] * each[i] for i in range(count)))
                own.append(share[j])
                largest.append(share.max())
        seen = method.guide(net, comixup.Batch(views, CLASSES_OF_STEP), draws)  # type: ignore[arg-type]
        torch.testing.assert_close(seen["mixed"], torch.stack(mixed), rtol=1e-5, atol=1e-5)
        plain, many = cross_entropy(net(views[0]), CLASSES_OF_STEP).mean(), torch.stack(losses).mean()
        torch.testing.assert_close(loss.parts["clean"], plain.detach())
        torch.testing.assert_close(loss.parts["mixed"], many.detach().float(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(loss.total, (0.5 * plain + many).float(), rtol=1e-4, atol=1e-5)
        assert loss.parts["share_kept"].item() == pytest.approx((0.5 + np.mean(own)) / 1.5, abs=1e-5)
        assert loss.parts["largest_share"].item() == pytest.approx(np.mean(largest), abs=1e-5)
    return mattered


def test_step_equals_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_step_equals_a_loop(monkeypatch) == {"threshold", "halves", "same images"}


@pytest.mark.parametrize("options", [{}, {"part": 3}, {"part": 3, "blocks": 2, "clean": 0.0}, {"gamma": 0.0}])
@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (7, 3, 32, 64), (5, 1, 64, 32)])
def test_label_weights_are_the_mean_shares(
    options: dict[str, Any], shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grey images whose level is their class: the mean level of each image is the mean class of its label."""
    classes = 7
    monkeypatch.setattr(comixup, "input_saliency", lambda *args: spiky(shape[0], *shape[2:]))
    labels = torch.arange(shape[0]) % classes
    images = (labels * 20).to(torch.uint8).view(-1, 1, 1, 1).expand(shape).contiguous()
    backbone = build_backbone(BackboneSpec(name="test_resnet"), classes, shape[1], 32, seed=0)
    method = CoMixup(**options)
    method.setup(backbone, Task(classes, cross_entropy, shape[1:]))  # type: ignore[arg-type]
    most = 0
    for number in range(3):
        found = labelled_step(backbone, method, images, labels, lambda pixels: pixels.float() / 20, Key("grey", number))
        assert len(found.passes) == (1 if options.get("clean") == 0 else 2)
        for seen in found.passes:
            torch.testing.assert_close(seen.weights.sum(1), torch.ones(len(labels)))
            expected = seen.targets() @ torch.arange(classes, dtype=torch.float32)
            torch.testing.assert_close(seen.images.mean((1, 2, 3)), expected, rtol=1e-5, atol=1e-5)
            most = max(most, int((seen.targets() > 0).sum(1).max()))
    assert most >= (min(shape[0], 2) if options else min(shape[0], 3))


def test_a_lone_image_stays_as_it_is() -> None:
    images = photographs(4, 3, 16, 16)
    method, net = set_up(CoMixup(part=3), images)
    draws = method.draw(Key("lone"), shape_of(images))
    views = method.views(images, normalise, draws)
    told = method.guide(net, comixup.Batch(views, torch.tensor([0, 1, 2, 3])), draws)  # type: ignore[arg-type]
    assert torch.equal(told["mixed"][3], views[0][3])
    assert told["shares"][3].tolist() == [1.0, 0.0, 0.0]


def test_an_image_without_saliency_and_priors_at_the_ends() -> None:
    saliency = even_and_spiky(4, 1)
    saliency[2] = 0
    method = CoMixup(blocks=2)
    start = method.draw(Key(0), BatchShape(4, 3, 32, 32))["start"]
    sure = method.shown(saliency, torch.tensor([0.0, 1.0, 0.0, 0.0]), start)
    assert ((sure >= 0) & (sure < 4)).all()
    strong = CoMixup(blocks=2, gamma=0.0, eta=5.0).shown(saliency, torch.tensor([0.0, 1.0, 0.0, 0.0]), start)
    assert (strong == 1).all()


def test_draws_are_dirichlet_and_uniform() -> None:
    draws = [CoMixup(part=3).draw(Key("draws", n), BatchShape(8, 3, 32, 32)) for n in range(300)]
    prior = torch.stack([one["prior"] for one in draws])
    for part in ((0, 3), (3, 6), (6, 8)):
        torch.testing.assert_close(prior[:, part[0] : part[1]].sum(1), torch.ones(300))
    # the variance of one of three Dirichlet(2, 2, 2) weights is (1/3)(2/3)/7
    assert prior[:, :6].var().item() == pytest.approx(2 / 63, rel=0.1)
    start = torch.stack([one["start"] for one in draws])
    assert torch.bincount(start[:, :6].flatten()).div(start[:, :6].numel()).tolist() == pytest.approx(
        [1 / 3] * 3, abs=0.01
    )
    assert torch.bincount(start[:, 6:].flatten()).div(start[:, 6:].numel()).tolist() == pytest.approx(
        [0.5] * 2, abs=0.02
    )


def test_images_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(ValueError, match="30x32"):
        CoMixup().draw(Key(0), BatchShape(2, 3, 30, 32))
    method, net = set_up(CoMixup(), photographs(2, 3, 30, 32))
    assert "4x4 equal blocks" in str(method.skip(net, method.task))  # type: ignore[arg-type]


right_steps, right_mix, right_closeness, right_rules = label_steps, mix_blocks, closeness, Rules
right_promising, right_around = many_file._most_promising, many_file._around
right_cheapest, right_same = cheapest_labelling, labels_file.same_images_cost


def changed_rules(**factors: float) -> Callable[..., Rules]:
    def rules(beta: float, gamma: float, threshold: float, **rest: int) -> Rules:
        given = {"beta": beta, "gamma": gamma, "threshold": threshold}
        return right_rules(**{name: value * factors.get(name, 1.0) for name, value in given.items()}, **rest)  # type: ignore[arg-type]

    return rules


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "beta not per block": (comixup, "Rules", changed_rules(beta=4.0)),
    "gamma without its factor 2": (comixup, "Rules", changed_rules(gamma=0.5)),
    "no threshold": (comixup, "Rules", changed_rules(threshold=0.0)),
    "prior ignored": (comixup, "SURE", 1e6),
    "closeness ignored": (comixup, "closeness", lambda places, real, omega: right_closeness(places, real, 0.0)),
    "window of 4 pixels": (places_file, "WINDOW", 4),
    "saliency not normalised": (comixup, "block_saliency", lambda maps, *args: block_saliency(maps, *args) * 2),
    "labels not optimised": (many_file, "cheapest_labelling", lambda unary, between: unary.argmin(3)),
    "grid turned": (many_file, "cheapest_labelling", lambda *args: right_cheapest(*args).mT),
    "half labels as far as others": (labels_file, "label_steps", lambda *args: right_steps(*args).ceil()),
    "no half labels": (labels_file, "HALVES", ()),
    "half labels too cheap": (labels_file, "HALF_BONUS", 0.05),
    "equal outputs allowed": (labels_file, "same_images_cost", lambda used: torch.zeros(used.shape)),
    "equal outputs avoid one image": (labels_file, "same_images_cost", lambda used: right_same(used).flip(1)),
    "halves shown whole": (comixup, "mix_blocks", lambda images, at: right_mix(images, at[..., :1].expand_as(at))),
    "blocks turned": (comixup, "mix_blocks", lambda images, at: right_mix(images, at.transpose(1, 2))),
    "parts exchanged": (comixup, "join_parts", lambda parts, size: parts.flip(0).flatten(0, 1)[:size].clamp(max=2)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_step_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    with pytest.raises(AssertionError):
        check_step_equals_a_loop(monkeypatch)


MANY_FAULTS = {
    "least promising labels": (
        "_most_promising",
        lambda unary, between, count: right_promising(unary, -between, count),
    ),
    "other measure of near": ("NEAR", 5.0),
    "not settled": ("_settled", lambda labels, *args: labels),
    "one neighbour forgotten": ("_around", lambda values: right_around(values) - values.roll(1, 2)),
}


@pytest.mark.parametrize("fault", MANY_FAULTS)
def test_a_fault_in_the_labelling_of_many_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_file, *MANY_FAULTS[fault])
    with pytest.raises(AssertionError):
        check_many_labels_equal_a_loop()


def test_too_few_candidates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comixup, "Rules", lambda *args, **rest: right_rules(*args, **{**rest, "candidates": 2}))
    with pytest.raises(AssertionError):
        test_energies_of_a_step_are_within_one_percent_of_exact_optima("random", monkeypatch)


def test_a_labelling_that_is_not_the_best_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "cheapest_labelling", lambda unary, between: unary.argmin(3))
    with pytest.raises(AssertionError):
        test_energy_of_two_labels_is_the_smallest_cut(4)
    monkeypatch.setitem(globals(), "cheapest_labelling", lambda unary, between: right_cheapest(unary, between.mT))
    with pytest.raises(AssertionError):
        test_labellings_of_larger_problems_are_the_best_of_all(4, 2)
