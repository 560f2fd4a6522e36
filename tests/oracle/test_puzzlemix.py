"""PuzzleMix against exact optima, and slow loops for its energy, its transport and a whole step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods import puzzlemix
from methods.api import BatchShape, Draws, mixed_loss
from methods.ops import puzzle_energy as energy_file
from methods.ops.grid_labels import grid_energy, label_grid
from methods.ops.input_saliency import input_saliency
from methods.ops.keys import Key
from methods.ops.masked_transport import masked_transport, move_cells
from methods.ops.puzzle_energy import Energy, block_saliency, puzzle_energy
from methods.puzzlemix import PuzzleMix
from tests.oracle.mixing_checks import cross_entropy, normalise, photographs, shape_of
from tests.oracle.puzzle_references import (
    as_arrays,
    least_by_enumeration,
    least_by_linear_program,
    least_by_maximum_flow,
    slow_energy,
    slow_transport,
)
from tests.oracle.saliency_checks import check_mean_pixel_is_the_label, set_up, step

KEYS = [Key("puzzlemix", number) for number in range(6)]
SETTINGS = {"labels": 3, "beta": 1.2, "gamma": 0.5, "eta": 0.2}
ITERATIONS = 120
WITHIN = 1e-3


def energies(count: int, side: int, labels: int, seed: int) -> Energy:
    """Energies of pairs of photographs with saliency from smooth to spiky and lam from 0 to 1."""
    generator = np.random.default_rng(seed)
    size = 2 * side
    pixels = photographs(2 * count, 3, size, size, seed).float() / 255
    spikes = generator.gamma(generator.choice([0.2, 1.0, 4.0], (2 * count, 1, 1)), 1.0, (2 * count, size, size))
    maps = block_saliency(torch.from_numpy(spikes).float(), side, side)
    every = [
        puzzle_energy(
            maps[i : i + 1],
            maps[i + count : i + count + 1],
            pixels[i : i + 1],
            pixels[i + count : i + count + 1],
            torch.tensor(lam, dtype=torch.float32),
            neighbourhood=4,
            **{**SETTINGS, "labels": labels},  # type: ignore[arg-type]
        )
        for i, lam in enumerate([0.0, 1.0, *generator.random(count - 2)])
    ]
    return Energy(*(torch.cat(parts) for parts in zip(*every, strict=True)))


def check_within_a_thousandth(energy: Energy, exact: Callable[..., float]) -> None:
    reached = grid_energy(label_grid(*energy, ITERATIONS), *energy).double().numpy()
    for number, value in enumerate(reached):
        least = exact(*as_arrays(*(part[number] for part in energy)))
        assert value <= least + WITHIN * abs(least)
        assert value >= least - 1e-4 * abs(least)


def by_enumeration(*arrays: np.ndarray) -> float:
    return least_by_enumeration(*arrays)[0]


@pytest.mark.parametrize(("side", "labels"), [(2, 2), (2, 3), (3, 3), (4, 2)])
def test_energy_is_within_a_thousandth_of_all_masks(side: int, labels: int) -> None:
    check_within_a_thousandth(energies(4, side, labels, side), by_enumeration)


@pytest.mark.parametrize("side", [4, 8, 16])
def test_energy_of_two_labels_is_within_a_thousandth_of_the_smallest_cut(side: int) -> None:
    check_within_a_thousandth(energies(8, side, 2, side), least_by_maximum_flow)


@pytest.mark.parametrize(("side", "count"), [(8, 5), (16, 3)])
def test_energy_of_three_labels_is_within_a_thousandth_of_the_linear_program(side: int, count: int) -> None:
    check_within_a_thousandth(energies(count, side, 3, side), least_by_linear_program)


@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 3]), st.floats(0.01, 3), st.integers(0, 10**6))
def test_random_grids_are_within_a_thousandth_of_all_labellings(
    height: int, width: int, labels: int, strength: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    first = generator.random((1, height, width))
    slopes = np.sort(generator.normal(size=(labels - 1, 1, height, width)), axis=0)
    unary = np.stack([first, *(first + slopes[:k].sum(0) for k in range(1, labels))], -1) + 2 * labels
    down, right = (strength * generator.random(shape) for shape in ((1, height - 1, width), (1, height, width - 1)))
    check_within_a_thousandth(
        Energy(*(torch.from_numpy(part).float() for part in (unary, down, right))), by_enumeration
    )


def test_other_numbers_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or 3 labels"):
        label_grid(torch.zeros(1, 2, 2, 4), torch.zeros(1, 1, 2), torch.zeros(1, 2, 1), 1)


def check_energy_equals_a_loop(size: tuple[int, int], side: int, labels: int) -> None:
    pixels = photographs(4, 3, *size).float() / 255
    spikes = torch.rand(4, *size, generator=torch.Generator().manual_seed(side))
    maps = block_saliency(spikes, side, side)
    lam = torch.tensor(0.3)
    chosen = {**SETTINGS, "labels": labels}
    energy = puzzle_energy(maps[:2], maps[2:], pixels[:2], pixels[2:], lam, neighbourhood=4, **chosen)  # type: ignore[arg-type]
    grid = torch.randint(labels, (2, side, side), generator=torch.Generator().manual_seed(side))
    reached = grid_energy(grid, *energy)
    block = (size[0] // side, size[1] // side)
    cell = max(n for n in (1, 2, 3, 4) if block[0] % n == 0 and block[1] % n == 0)
    for i in range(2):
        mask = 1 - grid[i].double().numpy() / (labels - 1)
        saliency, both = maps[[i, i + 2]].double().numpy(), pixels[[i, i + 2]].double().numpy()
        assert reached[i].item() == pytest.approx(slow_energy(mask, saliency, both, 0.3, chosen, cell), rel=1e-4)


@pytest.mark.parametrize(("size", "side"), [((16, 16), 2), ((16, 24), 4), ((8, 8), 8), ((12, 24), 2)])
@pytest.mark.parametrize("labels", [2, 3])
def test_energy_equals_a_loop(size: tuple[int, int], side: int, labels: int) -> None:
    check_energy_equals_a_loop(size, side, labels)


@settings(max_examples=15, deadline=None, database=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 5), st.floats(0, 2), st.integers(0, 10**6))
def test_transport_equals_a_loop(height: int, width: int, distance_cost: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    shown = generator.random((2, height, width)) < 0.5
    saliency = generator.gamma(0.5, 1.0, (2, height, width)).astype(np.float32)
    saliency /= saliency.sum((1, 2), keepdims=True)
    source = masked_transport(torch.from_numpy(shown), torch.from_numpy(saliency), distance_cost)
    for i in range(2):
        expected = slow_transport(shown[i], saliency[i], np.float32(distance_cost))
        visible = np.flatnonzero(shown[i])
        assert [source[i].tolist()[j] for j in visible] == [expected[j] for j in visible]
        shown_saliency = saliency[i].ravel()[source[i].numpy()][visible].sum()
        assert shown_saliency >= saliency[i][shown[i]].sum() - 1e-6


def test_moved_cells_equal_slices() -> None:
    images = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    source = torch.tensor([[5, 0, 1, 2, 3, 4, 7, 7], [0, 1, 2, 3, 4, 5, 6, 7]])
    moved = move_cells(images, source, 2, 4)
    for i, place in itertools.product(range(2), range(8)):
        (r, c), (y, x) = divmod(place, 4), divmod(int(source[i, place]), 4)
        expected = images[i, :, 3 * y : 3 * y + 3, 2 * x : 2 * x + 2]
        assert torch.equal(moved[i, :, 3 * r : 3 * r + 3, 2 * c : 2 * c + 2], expected)


def test_saliency_equals_a_loop_and_leaves_no_gradient() -> None:
    images, labels = normalise(photographs(4, 3, 16, 24)), torch.tensor([0, 4, 2, 1])
    _, net = set_up(PuzzleMix(), images)
    maps = input_saliency(net, images, labels, cross_entropy)  # type: ignore[arg-type]
    for i in range(4):
        image = images[i : i + 1].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(net(image), labels[i : i + 1]).sum(), image)
        torch.testing.assert_close(maps[i], gradient[0].square().mean(0).sqrt())
    assert all(parameter.grad is None for parameter in net.parameters())


SPIKES = torch.from_numpy(np.random.default_rng(8).gamma(0.1, 1.0, (4, 16, 16))).float()


def check_step_equals_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks 2 x 2 and cells 4 x 4 of 16 x 16 images with given spiky saliency: the best of all 81 masks, transport."""
    images, labels = photographs(4, 3, 16, 16), torch.tensor([0, 4, 2, 1])
    method, net = set_up(PuzzleMix(distance_cost=0.05, beta=0.3, eta=0.05), images)
    monkeypatch.setattr(puzzlemix, "input_saliency", lambda *args: SPIKES)
    chosen, maps = {**SETTINGS, "beta": 0.3, "eta": 0.05}, SPIKES.double().numpy()
    order = [2, 0, 3, 1]
    draws = Draws("blocks2", {"lam": torch.tensor(0.4), "permutation": torch.tensor(order)})
    views = method.views(images, normalise, draws)
    loss, mixed = step(method, net, views, labels, draws)
    losses, kept = [], []
    for i, j in enumerate(order):
        blocks = [maps[k].reshape(2, 8, 2, 8).mean((1, 3)) for k in (i, j)]
        saliency = np.stack([block / block.sum() for block in blocks])
        both = images[[i, j]].double().numpy() / 255
        masks = [np.array(values).reshape(2, 2) for values in itertools.product((0.0, 0.5, 1.0), repeat=4)]
        mask = min(masks, key=lambda each: slow_energy(each, saliency, both, 0.4, chosen, 4))
        parts = []
        for k, shown in ((i, mask), (j, 1 - mask)):
            cells = maps[k].reshape(4, 4, 4, 4).mean((1, 3))
            source = slow_transport(shown.repeat(2, 0).repeat(2, 1) > 0, cells / cells.sum(), 0.05)
            parts.append(move_cells(views[0][k : k + 1], torch.tensor([source]), 4, 4))
        weight = torch.from_numpy(mask.repeat(8, 0).repeat(8, 1)).float()
        expected = weight * parts[0] + (1 - weight) * parts[1]
        torch.testing.assert_close(mixed[i : i + 1], expected, rtol=1e-5, atol=1e-5)
        lam, logits = float(mask.mean()), net(expected)
        losses.append(lam * cross_entropy(logits, labels[[i]]) + (1 - lam) * cross_entropy(logits, labels[[j]]))
        kept.append(lam)
    torch.testing.assert_close(loss.total, torch.cat(losses).mean(), rtol=1e-4, atol=1e-5)
    assert loss.parts["share_kept"].item() == pytest.approx(np.mean(kept))


def test_step_equals_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    check_step_equals_a_loop(monkeypatch)


@pytest.mark.parametrize("options", [{}, {"transport": False, "labels": 2}, {"alpha": 0.0}])
@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (5, 1, 8, 24)])
def test_label_weight_is_the_mean_pixel(options: dict[str, Any], shape: tuple[int, int, int, int]) -> None:
    check_mean_pixel_is_the_label(PuzzleMix(**options), shape, KEYS[:3])


@pytest.mark.parametrize(("lam", "share"), [(1.0, 1.0), (0.0, 0.0)])
def test_the_prior_decides_where_saliency_is_even(lam: float, share: float) -> None:
    images = photographs(3, 3, 16, 16)
    masks = PuzzleMix().mask(
        torch.ones(3, 16, 16), images.float() / 255, torch.tensor([1, 2, 0]), torch.tensor(lam), side=4
    )
    assert (masks == share).all()


def test_mean_share_is_one_half() -> None:
    """Own image and partner can be exchanged, with lam for 1 - lam."""
    images, labels = photographs(12, 3, 16, 16), torch.arange(12) % 5
    method, net = set_up(PuzzleMix(transport=False), images)
    shares = []
    for number in range(25):
        draws = method.draw(Key("share", number), shape_of(images))
        loss, _ = step(method, net, method.views(images, normalise, draws), labels, draws)
        shares.append(loss.parts["share_kept"].item())
    assert abs(np.mean(shares) - 0.5) < 4 * np.std(shares) / 25**0.5


def test_blocks_are_those_that_divide_the_image() -> None:
    drawn = {PuzzleMix().draw(Key(n), BatchShape(2, 3, 24, 40)).branch for n in range(60)}
    assert drawn == {"blocks2", "blocks4", "blocks8"}
    with pytest.raises(ValueError, match="7x8"):
        PuzzleMix().draw(Key(0), BatchShape(2, 3, 7, 8))
    method, net = set_up(PuzzleMix(), photographs(2, 3, 7, 8))
    assert "7x8" in str(method.skip(net, method.task))


@pytest.mark.parametrize(
    ("size", "side", "grid"),
    [((32, 32), 4, (8, 8)), ((32, 32), 16, (16, 16)), ((224, 224), 8, (8, 8)), ((16, 32), 2, (4, 8))],
)
def test_transport_grid(size: tuple[int, int], side: int, grid: tuple[int, int]) -> None:
    assert PuzzleMix().transport_grid(*size, side) == grid


def swapped(own: Tensor, partner: Tensor, *rest: Any, **options: Any) -> Energy:
    return puzzle_energy(partner, own, *rest, **options)


STEP_FAULTS = {
    "saliency exchanged": ("puzzle_energy", swapped),
    "mask turned": ("label_grid", lambda *args: label_grid(*args).mT),
    "mask not optimised": ("label_grid", lambda u, *args: u.argmin(-1).roll(1, 1)),
    "cells moved where nothing shows": ("masked_transport", lambda shown, *args: masked_transport(~shown, *args)),
    "nothing moved": ("move_cells", lambda images, *args: images),
    "plan transposed": ("move_cells", lambda images, source, *args: move_cells(images, source.argsort(1), *args)),
    "label of the partner": ("mixed_loss", lambda c, x, y, p, lam: mixed_loss(c, x, y, p, 1 - lam)),
}


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_a_fault_in_the_step_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puzzlemix, *STEP_FAULTS[fault])
    with pytest.raises(AssertionError):
        check_step_equals_a_loop(monkeypatch)


right_border, right_surprise = energy_file._border, energy_file._surprise


@pytest.mark.parametrize("fault", ["prior", "borders", "reference"])
def test_a_fault_in_the_energy_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: dict[str, tuple[str, Any]] = {
        "prior": ("_surprise", lambda lam, labels: right_surprise(1 - lam, labels)),
        "borders": ("_border", lambda one, other, axis, every: right_border(other, one, axis, every)),
        "reference": ("REFERENCE", 8),
    }
    monkeypatch.setattr(energy_file, *faults[fault])
    with pytest.raises(AssertionError):
        check_energy_equals_a_loop((16, 16), 4, 3)
