"""All back ends of Sinkhorn against POT in float64 and each other, the bound of the scaling form, and the choice."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from methods.ops import sinkhorn as module
from methods.ops import sinkhorn_native
from methods.ops.sinkhorn import choose_back_end, sinkhorn
from methods.ops.sinkhorn_native_source import EXP2_POLYNOMIAL
from methods.ops.sinkhorn_scaling import block_length, first_iteration, scaled_plan, scaling_block
from tests.oracle.test_sinkhorn import EPSILON, official_scale_cost, pot_plans, relative_error

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def back_ends(device: str) -> list[str]:
    return ["scaling", "log", "triton" if device == "cuda" else "native"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [16, 49, 64])
def test_all_back_ends_equal_pot_and_each_other_at_official_scale(n: int, device: str) -> None:
    cost = official_scale_cost(n, count=3)
    assert (cost / EPSILON).median() >= 2700
    expected = pot_plans(cost, EPSILON, 100)
    plans = {name: sinkhorn(cost.to(device), EPSILON, 100, back_end=name).cpu() for name in back_ends(device)}
    for name, plan in plans.items():
        assert relative_error(plan, expected) <= 1e-5, name
        assert torch.allclose(n * plan.sum(1), torch.ones(()), atol=2e-6), name
    for name in plans:
        assert relative_error(plans[name], plans["log"].double().numpy()) <= 1e-5, name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 7, 11), (17, 11, 7), (33, 1, 4), (2, 4, 1), (3, 1, 1), (0, 5, 5)])
def test_every_shape_and_batch_size(shape: tuple[int, int, int], device: str) -> None:
    count, n, m = shape
    cost = official_scale_cost(n, m, count) if count else torch.zeros(shape)
    for iterations in (1, 2, 27):
        expected = pot_plans(cost, EPSILON, iterations) if count else np.zeros(shape)
        for name in back_ends(device):
            plan = sinkhorn(cost.to(device), EPSILON, iterations, back_end=name).cpu()
            assert plan.shape == shape
            assert not count or relative_error(plan, expected) <= 1e-5, name


def test_large_problems_and_costs_without_scale() -> None:
    cost = official_scale_cost(196, count=1)
    expected = pot_plans(cost, EPSILON, 20)
    for name in ("scaling", "native"):
        assert relative_error(sinkhorn(cost, EPSILON, 20, back_end=name), expected) <= 1e-5
    for scale in (0.0, 1e-6, 30.0):
        cost = official_scale_cost(9) * scale
        expected = pot_plans(cost, EPSILON, 60)
        for name in ("scaling", "native", "log"):
            assert relative_error(sinkhorn(cost, EPSILON, 60, back_end=name), expected) <= 1e-5


def test_no_entry_moves_faster_than_the_bound_says() -> None:
    """The claims on which the scaling form rests, in float64, on costs where rows and columns fight."""
    rng = np.random.default_rng(5)
    for n, m in ((6, 9), (9, 6), (12, 12), (1, 7)):
        cost = rng.normal(size=(n, m)) ** 2 * 200 + 300 * rng.normal(size=(1, m)) ** 2
        plan = np.exp(cost.min(1, keepdims=True) - cost)
        plan = plan / plan.sum(1, keepdims=True)
        plan = plan / np.where(plan.sum(0) > 0, plan.sum(0), 1.0)
        plan = np.where(plan > 0, plan, 0.0)
        if (plan.sum(0) == 0).any():
            plan[:, plan.sum(0) == 0] = 1 / n
        for _ in range(40):
            before = plan.copy()
            rows = plan.sum(1, keepdims=True)
            assert (rows <= m * (1 + 1e-12)).all()
            plan = plan / rows
            columns = plan.sum(0, keepdims=True)
            assert (columns <= n * (1 + 1e-12)).all()
            assert (columns >= 1 / m * (1 - 1e-12)).all()
            plan = plan / columns
            assert (plan.sum(1) >= 1 / n * (1 - 1e-12)).all()
            assert (plan <= before * n * m * (1 + 1e-12)).all()


@pytest.mark.parametrize("n", [1, 2, 16, 49, 64, 196, 4096])
def test_block_length_is_the_longest_that_the_bound_allows(n: int) -> None:
    length = block_length(n, n)
    assert length >= 1
    assert n ** (2 * (length + 1)) <= 2**102
    assert length == 25 or n ** (2 * (length + 2)) > 2**102


def test_a_mass_that_underflows_is_found_again() -> None:
    """Entry (0, 1) starts at 2^-173, below float32, and ends at 2^-98 of its column and 0.1 of its row's need."""
    chain = torch.full((1, 3, 3), 60.0)
    chain[0, 0, 0] = chain[0, 1, 0] = chain[0, 1, 1] = chain[0, 2, 1] = 0.0
    chain[0, 2, 2] = 30.0
    for scale in (1.0, 4.0, 16.0):
        expected = pot_plans(chain * scale, 0.5, 400)
        for name in ("scaling", "native", "log"):
            assert relative_error(sinkhorn(chain * scale, 0.5, 400, back_end=name), expected) <= 1e-5, (name, scale)


def test_first_iteration_and_blocks_equal_single_steps() -> None:
    cost = official_scale_cost(6, 8, count=16)
    log_plan = (cost - cost.amin(2, keepdim=True)).permute(1, 2, 0).contiguous()
    first_iteration(log_plan, EPSILON, torch.empty_like(log_plan))
    plan = torch.exp2(log_plan).permute(2, 0, 1).numpy() / 8
    assert np.allclose(plan, pot_plans(cost, EPSILON, 1), rtol=1e-4, atol=1e-7)
    kernel = torch.exp2(log_plan).double()
    row_divisors, column_divisors = torch.ones(()).double(), torch.ones(1, 8, 16).double()
    for iterations in range(1, 6):
        row_divisors = (kernel / column_divisors).sum(1, keepdim=True)
        column_divisors = (kernel / row_divisors).sum(0, keepdim=True)
        found = scaling_block(kernel.float(), iterations)
        assert torch.allclose(found[0].double(), row_divisors, rtol=2e-6)
        assert torch.allclose(found[1].double(), column_divisors, rtol=2e-6)


def test_the_polynomial_for_powers_of_two_is_as_exact_as_it_says() -> None:
    x = np.linspace(-0.5, 0.5, 200_001)
    factors = np.array(EXP2_POLYNOMIAL, dtype=np.float32).astype(np.float64)
    error = np.polynomial.polynomial.polyval(x, factors) / np.exp2(x) - 1
    assert np.abs(error).max() < 1.1e-7


@pytest.mark.parametrize("shape", [(2, 15, 17), (2, 17, 63), (1, 65, 33), (1, 129, 70), (3, 2, 300)])
def test_the_native_code_at_the_ends_of_its_vectors(shape: tuple[int, int, int]) -> None:
    """Rows of less and more than whole vectors, of one to four of them and more."""
    count, n, m = shape
    for cost in (official_scale_cost(n, m, count), official_scale_cost(n, m, count).transpose(1, 2)):
        plan = sinkhorn(cost, EPSILON, 40, back_end="native")
        assert relative_error(plan, pot_plans(cost, EPSILON, 40)) <= 2e-6


def test_the_native_code_gives_small_entries_their_digits() -> None:
    """Not only the large ones, which decide the L1 error: all that float32 holds."""
    cost = official_scale_cost(12, count=2)
    expected = pot_plans(cost, EPSILON, 100)
    plan = sinkhorn(cost, EPSILON, 100, back_end="native").double().numpy()
    seen = expected > 1e-30
    assert (seen & (expected < 1e-12)).sum() > 10
    assert np.abs(plan[seen] / expected[seen] - 1).max() < 2e-2
    assert (plan[expected < 1e-39] == 0).all()


def test_a_cost_that_is_no_number_gives_a_plan_that_is_none_and_leaves_its_batch_mates() -> None:
    cost = official_scale_cost(20, count=3)
    expected = sinkhorn(cost, EPSILON, 30, back_end="native")
    for value in (float("nan"), -float("inf")):
        broken = cost.clone()
        broken[1, 3, 19] = value
        plan = sinkhorn(broken, EPSILON, 30, back_end="native")
        assert plan[1].isnan().all()
        assert torch.equal(plan[[0, 2]], expected[[0, 2]])


def test_the_native_code_leaves_numbers_below_float32s_normal_ones_to_torch() -> None:
    small = torch.tensor([1e-30]) * torch.tensor([1e-10])
    assert small > 0
    sinkhorn(official_scale_cost(9), EPSILON, 30, back_end="native")
    assert torch.equal(torch.tensor([1e-30]) * torch.tensor([1e-10]), small)


def test_a_plan_of_the_native_back_end_does_not_depend_on_its_batch() -> None:
    cost = official_scale_cost(10, count=35)
    together = sinkhorn(cost, EPSILON, 100, back_end="native")
    for index in (0, 15, 16, 34):
        assert torch.equal(together[index], sinkhorn(cost[index : index + 1], EPSILON, 100, back_end="native")[0])


def test_strided_half_precision_and_grad_costs() -> None:
    cost = official_scale_cost(6, 8, count=5)
    for name in ("scaling", "native", "log"):
        expected = sinkhorn(cost, EPSILON, 30, back_end=name)
        turned = cost.transpose(1, 2).contiguous().transpose(1, 2)
        assert torch.equal(sinkhorn(turned, EPSILON, 30, back_end=name), expected)
        before = cost.clone()
        leaf = cost.clone().requires_grad_()
        assert not sinkhorn(leaf, EPSILON, 30, back_end=name).requires_grad
        assert torch.equal(cost, before)
        half = cost.bfloat16()
        assert torch.equal(
            sinkhorn(half, EPSILON, 30, back_end=name), sinkhorn(half.float(), EPSILON, 30, back_end=name)
        )


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton has no build for this platform")
def test_triton_kernel_in_the_interpreter() -> None:
    """In a process of its own, because the interpreter is chosen when triton is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "tests.oracle.sinkhorn_triton_checks"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "passed"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_triton_kernel_compiled() -> None:
    from tests.oracle.sinkhorn_triton_checks import check_kernel

    check_kernel(torch.device("cuda"))


def test_the_choice_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXBENCH_SINKHORN", raising=False)
    assert choose_back_end(CPU, 16, 16) == "native"
    monkeypatch.setenv("MIXBENCH_SINKHORN", "log")
    assert choose_back_end(CPU, 16, 16) == "log"
    assert choose_back_end(CPU, 16, 16, "scaling") == "scaling"
    monkeypatch.setattr(module, "native_is_available", lambda: False)
    monkeypatch.setenv("MIXBENCH_SINKHORN", "auto")
    assert choose_back_end(CPU, 16, 16) == "scaling"
    with pytest.raises(ValueError, match="'native' needs"):
        choose_back_end(CPU, 16, 16, "native")


def test_the_choice_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXBENCH_SINKHORN", raising=False)
    monkeypatch.setattr(module, "triton_runs_on", lambda device: device.type == "cuda")
    cuda = torch.device("cuda", 1)
    assert choose_back_end(cuda, 49, 49) == "triton"
    assert choose_back_end(cuda, 128, 128) == "triton"
    assert choose_back_end(cuda, 129, 16) == "triton"
    assert choose_back_end(cuda, 129, 129) == "scaling"
    with pytest.raises(ValueError, match="no room for a cost of 196x196"):
        choose_back_end(cuda, 196, 196, "triton")
    with pytest.raises(ValueError, match="'native' needs"):
        choose_back_end(cuda, 16, 16, "native")
    monkeypatch.setattr(module, "triton_runs_on", lambda device: False)
    assert choose_back_end(cuda, 49, 49) == "scaling"


def test_unknown_and_impossible_back_ends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match="back_end must be one of auto, triton, native, scaling, log"):
        sinkhorn(cost, EPSILON, 1, back_end="cuda")
    with pytest.raises(ValueError, match="'triton' needs"):
        sinkhorn(cost, EPSILON, 1, back_end="triton")
    monkeypatch.setenv("MIXBENCH_SINKHORN", "fast")
    with pytest.raises(ValueError, match="MIXBENCH_SINKHORN must be one of"):
        sinkhorn(cost, EPSILON, 1)
    sinkhorn(cost, EPSILON, 1, "tolerance")


@pytest.mark.parametrize("broken", ["no compiler", "failing compiler", "no folder", "not a library"])
def test_without_a_usable_compiler_plain_torch_takes_over(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIXBENCH_SINKHORN", raising=False)
    if broken == "no compiler":
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
    if broken == "failing compiler":
        monkeypatch.setenv("CC", "false")
    if broken == "no folder":
        (tmp_path / "cache").write_text("a file")
    if broken == "not a library":
        monkeypatch.setattr(
            sinkhorn_native, "_compile", lambda compiler, path: (path.parent.mkdir(parents=True), path.write_text("x"))
        )
    sinkhorn_native._function.cache_clear()
    try:
        assert choose_back_end(CPU, 4, 4) == "scaling"
        cost = official_scale_cost(4)
        expected = scaled_plan(cost, EPSILON, 20)
        for _ in range(2):
            assert torch.equal(sinkhorn(cost, EPSILON, 20), expected)
        (told,) = caplog.records
        assert told.levelname == "WARNING"
        assert "plain torch" in told.getMessage()
    finally:
        sinkhorn_native._function.cache_clear()


def test_the_native_code_is_compiled_once_and_left_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    compile_it, calls = sinkhorn_native._compile, []
    monkeypatch.setattr(sinkhorn_native, "_compile", lambda *given: (calls.append(given), compile_it(*given)))
    try:
        for _ in range(2):
            sinkhorn_native._function.cache_clear()
            assert sinkhorn_native.native_is_available()
    finally:
        sinkhorn_native._function.cache_clear()
    assert len(calls) == 1
    (left,) = (tmp_path / "native").iterdir()
    assert left.suffix == ".so"
