"""Sinkhorn against POT in float64, against a slow textbook loop, and the facts about plans."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from methods.ops.alignment import cosine_cost, squared_l2_cost
from methods.ops.sinkhorn import sinkhorn
from tests.oracle.alignmix_checks import slow_cost, slow_sinkhorn, uneven_maps

EPSILON = 0.1
MODES = ("official", "fixed", "tolerance")


def official_scale_cost(n: int, m: int | None = None, count: int = 4) -> Tensor:
    """Squared L2 of uneven maps, scaled to a median of C / epsilon of 2,750, as in a trained ResNet-18."""
    first, second = uneven_maps(count, 128, n, "first", n), uneven_maps(count, 128, m or n, "second", n)
    cost = squared_l2_cost(first, second)
    return cost * (2750 * EPSILON / cost.median())


def pot_plans(cost: Tensor, epsilon: float, iterations: int) -> np.ndarray:
    """POT updates columns first, hence the two transposes."""
    n, m = cost.shape[1:]
    first, second = np.full(n, 1 / n), np.full(m, 1 / m)
    settings = {"method": "sinkhorn_log", "numItermax": iterations, "stopThr": 0, "warn": False}
    return np.stack([ot.sinkhorn(second, first, c.T, epsilon, **settings).T for c in cost.double().numpy()])


def relative_error(plan: Tensor, expected: np.ndarray) -> float:
    """Largest L1 error of a plan of the batch relative to the expected plan's L1 norm."""
    error = np.abs(plan.double().numpy() - expected).sum((1, 2)) / np.abs(expected).sum((1, 2))
    return float(error.max())


@pytest.mark.parametrize("n", [16, 49, 64])
def test_equals_pot_in_float64_at_official_scale(n: int) -> None:
    cost = official_scale_cost(n)
    assert (cost / EPSILON).median() >= 2700
    assert cost.max() / cost.median() > 10
    expected = pot_plans(cost, EPSILON, 100)
    assert np.abs(n * expected.sum(2) - 1).max() > 0.1, "not converged, as in a trained network"
    assert relative_error(sinkhorn(cost, EPSILON, 100), expected) <= 1e-5


@pytest.mark.parametrize("shape", [(7, 11), (11, 7), (1, 4), (4, 1)])
def test_equals_pot_on_oblong_costs(shape: tuple[int, int]) -> None:
    cost = official_scale_cost(*shape)
    assert relative_error(sinkhorn(cost, EPSILON, 30), pot_plans(cost, EPSILON, 30)) <= 1e-5


def test_equals_pot_with_the_cosine_cost() -> None:
    cost = cosine_cost(uneven_maps(4, 32, 16, 1), uneven_maps(4, 32, 16, 2))
    assert relative_error(sinkhorn(cost, EPSILON, 100), pot_plans(cost, EPSILON, 100)) <= 2e-6


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_first_iterates_are_those_of_the_slow_loop(iterations: int) -> None:
    cost = official_scale_cost(9)
    expected, _ = slow_sinkhorn(cost.double().numpy(), EPSILON, iterations)
    assert relative_error(sinkhorn(cost, EPSILON, iterations), expected) <= 1e-5


def test_official_stop_ends_where_the_slow_loop_ends() -> None:
    cost = uneven_cost_of_different_speeds()
    expected, done = slow_sinkhorn(cost.double().numpy(), EPSILON, 100, stop_below=0.1)
    assert 1 < done < 100
    assert relative_error(sinkhorn(cost, EPSILON, 100, "official", 0.1), expected) <= 1e-5
    for other in (done - 1, done + 1):
        assert relative_error(sinkhorn(cost, EPSILON, other), expected) > 1e-4


def test_official_stop_can_come_after_one_iteration() -> None:
    cost = torch.full((2, 4, 4), 1e-3)
    assert slow_sinkhorn(cost.double().numpy(), 1e-3, 100, stop_below=0.1)[1] == 1
    cost[:, 0, 1:] = 5e-3
    once = sinkhorn(cost, 1e-3, 1, back_end="log")
    assert torch.equal(sinkhorn(cost, 1e-3, 100, "official", 0.1), once)
    assert torch.equal(sinkhorn(cost, 1e-3, 100, "tolerance", 0.1), once)
    assert not torch.allclose(sinkhorn(cost, 1e-3, 100), once)


def test_tolerance_stops_each_problem_as_the_slow_loop_stops_it_alone() -> None:
    cost = uneven_cost_of_different_speeds()
    alone = [slow_sinkhorn(c[None], EPSILON, 100, stop_below=0.1) for c in cost.double().numpy()]
    assert len({done for _, done in alone}) > 1
    plan = sinkhorn(cost, EPSILON, 100, "tolerance", 0.1)
    assert relative_error(plan, np.concatenate([plan for plan, _ in alone])) <= 1e-5


def uneven_cost_of_different_speeds() -> Tensor:
    cost = squared_l2_cost(uneven_maps(3, 16, 6, "fast"), uneven_maps(3, 16, 6, "slow"))
    return cost / cost.mean() * torch.tensor([0.5, 1.5, 4.0])[:, None, None]


@pytest.mark.parametrize("mode", ["fixed", "tolerance"])
def test_plan_does_not_depend_on_batch_mates(mode: str) -> None:
    cost = uneven_cost_of_different_speeds()
    together = sinkhorn(cost, EPSILON, 100, mode, 0.1)
    for index in range(3):
        assert torch.allclose(together[index], sinkhorn(cost[index : index + 1], EPSILON, 100, mode, 0.1)[0], atol=1e-7)


def test_official_stop_depends_on_batch_mates() -> None:
    cost = uneven_cost_of_different_speeds()
    together = sinkhorn(cost, EPSILON, 100, "official", 0.1)
    apart = torch.cat([sinkhorn(c[None], EPSILON, 100, "official", 0.1) for c in cost])
    assert relative_error(together, apart.double().numpy()) > 1e-3


def test_marginals() -> None:
    unconverged = sinkhorn(official_scale_cost(16), EPSILON, 100)
    assert (unconverged >= 0).all()
    assert (16 * unconverged.sum(1) - 1).abs().max() <= 1e-5
    converged = sinkhorn(official_scale_cost(16) / 1000, EPSILON, 300)
    assert (16 * converged.sum(1) - 1).abs().max() <= 1e-5
    assert (16 * converged.sum(2) - 1).abs().max() <= 1e-4


def test_rows_are_as_far_off_as_the_stop_allows() -> None:
    cost, epsilon, tolerance = uneven_cost_of_different_speeds(), EPSILON, 1e-3
    for mode in ("official", "tolerance"):
        plan = sinkhorn(cost, epsilon, 2000, mode, tolerance)
        # One more row pass would change u by epsilon * |log(n * row sum)|, which is less than the last change.
        assert (epsilon * torch.log(6 * plan.sum(2)).abs().sum(1)).mean() < tolerance


def test_large_epsilon_gives_the_uniform_plan() -> None:
    cost = official_scale_cost(16)
    assert torch.allclose(sinkhorn(cost, 1e9, 100), torch.full_like(cost, 1 / 256), rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_permuted_positions_give_that_permutation(mode: str) -> None:
    maps = uneven_maps(4, 128, 16, "permuted")
    permutation = torch.from_numpy(np.random.default_rng(3).permutation(16))
    plan = sinkhorn(squared_l2_cost(maps, maps[:, :, permutation]), 1e-3, 100, mode)
    expected = torch.zeros(16, 16)
    expected[permutation, torch.arange(16)] = 1 / 16
    assert torch.allclose(plan, expected.expand(4, 16, 16), atol=1e-6)


def test_swapping_the_sides_transposes_the_plan_at_convergence_only() -> None:
    cost = uneven_cost_of_different_speeds()
    swapped = cost.transpose(1, 2)
    converged = sinkhorn(cost, EPSILON, 3000)
    assert torch.allclose(sinkhorn(swapped, EPSILON, 3000), converged.transpose(1, 2), atol=1e-6)
    early = sinkhorn(cost, EPSILON, 2)
    assert not torch.allclose(sinkhorn(swapped, EPSILON, 2), early.transpose(1, 2), atol=1e-3)


def test_a_constant_added_to_a_row_or_column_changes_nothing_at_convergence() -> None:
    cost = uneven_cost_of_different_speeds()
    shifted = cost + torch.arange(6.0)[:, None] + torch.tensor([0.0, 3, 1, 2, 5, 4])
    assert torch.allclose(sinkhorn(shifted, EPSILON, 3000), sinkhorn(cost, EPSILON, 3000), atol=1e-5)


def test_detached_float32_and_the_same_under_autocast() -> None:
    cost = official_scale_cost(16)
    leaf = cost.clone().requires_grad_()
    plan = sinkhorn(leaf, EPSILON, 100)
    assert not plan.requires_grad
    for mode in MODES:
        plain = sinkhorn(cost, EPSILON, 20, mode)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(sinkhorn(cost, EPSILON, 20, mode), plain)
    assert sinkhorn(cost.bfloat16(), EPSILON, 2).dtype == torch.float32


def test_input_is_not_changed_and_no_random_state_is_used() -> None:
    cost = official_scale_cost(8)
    before, state = cost.clone(), torch.get_rng_state()
    sinkhorn(cost, EPSILON, 10)
    assert torch.equal(cost, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_compiles_to_one_node_in_every_mode() -> None:
    cost = uneven_cost_of_different_speeds()
    for mode in MODES:
        compiled = torch.compile(
            lambda c, mode=mode: 2 * sinkhorn(c + 1, EPSILON, 100, mode), backend="aot_eager", fullgraph=True
        )
        assert torch.equal(compiled(cost), 2 * sinkhorn(cost + 1, EPSILON, 100, mode))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cost": torch.zeros(4, 4)}, r"\(B, n, m\)"),
        ({"cost": torch.zeros(2, 0, 4)}, "above 0"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"iterations": 0}, "iterations"),
        ({"stopping": "never"}, "official, fixed, tolerance"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], words: str) -> None:
    good = {"cost": torch.zeros(2, 4, 4), "epsilon": 0.1, "iterations": 3}
    with pytest.raises(ValueError, match=words):
        sinkhorn(**{**good, **settings})


def test_squared_l2_cost_equals_a_slow_loop() -> None:
    first, second = uneven_maps(2, 7, 5, 1) * 30, uneven_maps(2, 7, 4, 2) * 30
    expected = np.stack([slow_cost(a, b) for a, b in zip(first.double().numpy(), second.double().numpy(), strict=True)])
    np.testing.assert_allclose(squared_l2_cost(first, second).numpy(), expected, rtol=1e-6)


def test_squared_l2_cost_keeps_its_digits_for_near_features_and_any_product_precision() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = uneven_maps(2, 64, 9, "near").to(device) + 100
    near = base + 1e-2 * uneven_maps(2, 64, 9, "shift").to(device)
    expected = (base.double() - near.double()).square().sum(1)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast(device, dtype=torch.bfloat16):
            cost = squared_l2_cost(base, near)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert cost.dtype == torch.float32
    assert torch.allclose(cost.diagonal(dim1=1, dim2=2).double(), expected, rtol=1e-6)
    assert (squared_l2_cost(base, base) >= 0).all()


def test_cosine_cost_equals_a_slow_loop_and_stands_zeros() -> None:
    first, second = uneven_maps(1, 7, 5, 1), uneven_maps(1, 7, 4, 2)
    first[0, :, 2] = 0
    cost = cosine_cost(first, second)[0]
    for i in range(5):
        for j in range(4):
            a, b = first[0, :, i].double().numpy(), second[0, :, j].double().numpy()
            norms = np.linalg.norm(a) * np.linalg.norm(b)
            assert abs(cost[i, j].item() - (1 - (a @ b / norms if norms else 0))) < 1e-6
