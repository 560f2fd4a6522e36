from __future__ import annotations

import numpy as np
import pytest

from bench.stats import Estimate, Variance, cell_difference, mean_effect, paired_variance, pooled_variance, spreads


def cell(seed: int, spreads_of: list[float], seeds: int = 5) -> dict[str, dict[int, float]]:
    drawn = np.random.default_rng(seed).normal(0, 1, (len(spreads_of), seeds)) * np.array(spreads_of)[:, None]
    return {f"m{at}": dict(enumerate(row)) for at, row in enumerate(drawn.tolist())}


def test_cells_of_one_spread_share_it():
    orders = {"a": [(0, 1, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1)], "b": [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)]}
    cells = {
        name: {f"m{at}": dict(enumerate(map(float, row))) for at, row in enumerate(rows)}
        for name, rows in orders.items()
    }
    found = spreads(cells, "m0")
    assert found["a"] == found["b"]
    assert found["a"].pooled == "data set"
    assert found["a"].paired == pooled_variance([paired_variance(methods) for methods in cells.values()])
    assert found["a"].paired is not None
    assert found["a"].paired.df == 12


def test_cells_with_freedom_enough_keep_their_own_and_lend_it():
    cells = {"a": cell(1, [1] * 4), "b": cell(2, [1] * 4), "c": cell(4, [1] * 4, seeds=2)}
    found = spreads(cells, "m0")
    assert [found[name].pooled for name in cells] == ["cell", "cell", "data set"]
    assert found["a"].paired == paired_variance(cells["a"])
    assert found["c"].paired == pooled_variance([paired_variance(methods) for methods in cells.values()])


def test_cells_of_different_spreads_keep_their_own():
    cells = {"a": cell(1, [1] * 4), "b": cell(2, [9] * 4)}
    found = spreads(cells, "m0")
    assert [found[name].pooled for name in cells] == ["cell", "cell"]
    assert found["b"].paired == paired_variance(cells["b"])
    assert found["a"].source != found["b"].source


def test_methods_of_different_spreads_keep_their_own_over_all_cells():
    cells = {str(at): cell(at, [1, 1, 1, 6, 1], 3) for at in range(6)}
    found = spreads(cells, "m0")
    assert {spread.pooled for spread in found.values()} == {"method"}
    gaps = [[methods["m3"][s] - methods["m0"][s] for s in range(3)] for methods in cells.values()]
    expected = (np.mean([np.var(gap, ddof=1) for gap in gaps]), 12)
    estimate = cell_difference("m3", cells["2"], "m0", found["2"])
    assert estimate is not None
    assert estimate.variance == pytest.approx(expected)
    assert estimate.error == pytest.approx((expected[0] / 3) ** 0.5)
    effect = mean_effect([e for n in cells if (e := cell_difference("m3", cells[n], "m0", found[n]))])
    assert effect is not None
    assert effect.variance.df == 12
    assert cell_difference("m1", cells["2"], "m0", found["2"]).source != estimate.source


def test_methods_of_different_spreads_keep_their_own_in_a_lone_cell():
    methods = cell(1, [1, 1, 1, 30])
    found = spreads({"a": methods}, "m0")
    gaps = [methods["m3"][s] - methods["m0"][s] for s in range(5)]
    estimate = cell_difference("m3", methods, "m0", found["a"])
    assert estimate is not None
    assert estimate.variance == pytest.approx((np.var(gaps, ddof=1), 4))


def test_a_cell_with_one_seed_borrows_the_spread_of_its_data_set():
    cells = {"a": cell(1, [1] * 3), "b": cell(2, [1] * 3, seeds=1)}
    found = spreads(cells, "m0")
    estimate = cell_difference("m1", cells["b"], "m0", found["b"])
    assert estimate is not None
    assert estimate.variance == paired_variance(cells["a"])
    assert estimate.n == 1


def test_one_seed_against_many_is_unpaired():
    methods = {"m0": {seed: float(seed % 3) for seed in range(6)}, "m1": {0: 2.0}}
    estimate = cell_difference("m1", methods, "m0", spreads({"only": methods}, "m0")["only"])
    assert estimate is not None
    assert estimate.value == pytest.approx(1.0)
    assert estimate.variance == pytest.approx((0.8, 5))
    assert estimate.error == pytest.approx((0.8 * (1 + 1 / 6)) ** 0.5)


@pytest.mark.parametrize(
    "methods",
    [
        {"m0": {0: 1.0}, "m1": {0: 2.0}},
        {"m0": {0: 1.0, 1: 1.0}, "m1": {0: 2.0, 1: 2.0}},
        {"m0": {}, "m1": {0: 1.0, 1: 2.0}},
        {"m1": {0: 1.0, 1: 2.0}},
    ],
)
def test_nothing_is_told_without_a_seed_spread_or_a_base(methods):
    assert cell_difference("m1", methods, "m0", spreads({"only": methods}, "m0")["only"]) is None


def test_freedoms_of_different_variances_are_satterthwaites():
    one, two = Variance(1.0, 4), Variance(4.0, 10)
    found = mean_effect([Estimate(0.0, 0.5, one, "one", 4), Estimate(1.0, 0.5, two, "two", 4)])
    assert found is not None
    assert found.value == 0.5
    assert found.error**2 == pytest.approx((0.5 + 2.0) / 4)
    assert found.variance.df == int(0.625**2 / (0.125**2 / 4 + 0.5**2 / 10))
