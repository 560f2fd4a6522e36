"""The simulated studies of docs/statistics.md: same formulas as bench.stats, intervals hold, the page is up to date."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.stats import cell_difference, holm, mean_effect, spreads
from tools.simulate_statistics import (
    MARKS,
    PAGE,
    REPLICATIONS,
    Setting,
    simulate,
    simulate_lone,
    simulate_ranks,
    simulate_sampled,
    simulate_shared,
    tables,
)
from tools.simulated_cells import differences, draw, lone_seeds, mean_effects, p_values, reach

STUDIES = 3000


def error(share: float, *replications: int) -> float:
    """Three Monte-Carlo errors of a share, or of the difference of two."""
    return 3 * sum(share * (1 - share) / count for count in replications) ** 0.5


@pytest.mark.parametrize(
    "setting",
    [
        Setting(1, 3, (0.3, 0.3), 0.4, methods=4),
        Setting(3, 2, (0.2, 0.3), 0.0, methods=3),
        Setting(4, 3, (0.1, 0.3), 0.4, methods=3),
        Setting(4, 5, (0.1, 0.6), 0.8, methods=4),
        Setting(3, 4, (0.3, 0.3), 0.4, odd=6.0, methods=4),
    ],
)
def test_simulated_formulas_are_those_of_bench_stats(setting):
    values = draw(np.random.default_rng(setting.seeds), 25, setting.spreads, setting.seeds, setting.rho)
    found = differences(values)
    effects, squares, freedoms = mean_effects(found)
    widths, alone = reach(found.square, found.df), p_values(*found[:3])
    for study in range(len(values)):
        cells = {
            str(cell): {f"m{m}": dict(enumerate(own)) for m, own in enumerate(methods)}
            for cell, methods in enumerate(values[study].tolist())
        }
        chosen = spreads(cells, "m0")
        for method in range(1, setting.methods):
            estimates = [
                one
                for name, methods in cells.items()
                if (one := cell_difference(f"m{method}", methods, "m0", chosen[name])) is not None
            ]
            intervals = [one.interval() for one in estimates]
            assert [one.estimate for one in intervals] == pytest.approx(found.value[study, :, method - 1])
            assert [one.high - one.estimate for one in intervals] == pytest.approx(widths[study, :, method - 1])
            assert [one.p_value for one in estimates] == pytest.approx(alone[study, :, method - 1])
            effect = mean_effect(estimates)
            assert effect is not None
            assert (effect.value, effect.error**2, effect.variance.df) == pytest.approx(
                (effects[study, method - 1], squares[study, method - 1], freedoms[study, method - 1])
            )


@pytest.mark.parametrize(("seeds", "rho"), [(1, 0.4), (2, 0.0), (4, 0.8)])
def test_simulated_lone_seeds_are_those_of_bench_stats(seeds, rho):
    studies, methods, base = 20, 3, 6
    value, square, df = lone_seeds(np.random.default_rng(4), studies, methods, seeds, base, rho, 0.3)
    drawn = draw(np.random.default_rng(4), studies, np.full((1, methods), 0.3), base, rho)[:, 0].tolist()
    pooled = 0
    for study, rows in enumerate(drawn):
        cell = {f"m{m}": dict(enumerate(row[: base if m == 0 else seeds])) for m, row in enumerate(rows)}
        spread = spreads({"only": cell}, "m0")["only"]
        if spread.pooled == "method":
            continue
        pooled += 1
        found = cell_difference("m1", cell, "m0", spread)
        assert found is not None
        assert (found.value, found.error**2, found.variance.df) == pytest.approx((value[study], square[study], df))
    assert pooled > studies / 2


def test_holm_finds_something_exactly_where_the_smallest_p_value_does():
    for p_values_of in np.random.default_rng(1).random((200, 12)) ** 2.5:
        adjusted = holm(dict(enumerate(p_values_of.tolist())))
        assert (min(adjusted.values()) < 0.05) == (min(p_values_of) * 12 < 0.05)


@pytest.mark.parametrize(("cells", "seeds"), [(1, 2), (1, 3), (2, 5), (8, 3), (8, 10), (20, 3)])
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_intervals_hold_and_holm_keeps_its_level(cells, seeds, rho):
    found = simulate(Setting(cells, seeds, (0.15, 0.15), rho), STUDIES, seed=50 + cells + seeds)
    assert abs(found.cell - 0.95) < error(0.95, STUDIES)
    assert abs(found.mean - 0.95) < error(0.95, STUDIES)
    assert found.false_alarm < 0.05 + error(0.05, STUDIES)


def test_intervals_hold_where_cells_spread_differently_or_seeds_are_lone():
    found = simulate(Setting(8, 3, (0.15, 0.45), 0.4), STUDIES, seed=61)
    assert abs(found.cell - 0.95) < error(0.95, STUDIES)
    assert abs(found.mean - 0.95) < error(0.95, STUDIES)
    for rho in (0.0, 0.8):
        assert abs(simulate_lone(3, rho, STUDIES, seed=62)[0] - 0.95) < error(0.95, STUDIES)


def test_what_does_not_hold_is_as_stated():
    """An odd method's spread goes unnoticed with one cell and 3 seeds, not with 8 cells."""
    assert simulate(Setting(1, 3, (0.15, 0.15), 0.4, odd=3.0), STUDIES, seed=63).cell < 0.85
    assert simulate(Setting(8, 3, (0.15, 0.15), 0.4, odd=3.0), STUDIES, seed=64).cell > 0.93


def test_further_data_sets_and_ranks():
    middle, better, sampled = simulate_sampled(8, 3, 1000, seed=65)
    assert middle > 0.95 - error(0.95, 1000)
    assert better > 0.90
    assert abs(sampled - 0.95) < error(0.95, 1000)
    assert max(simulate_ranks(8, 7, STUDIES, seed=66)) < 0.05 + error(0.05, STUDIES)


@pytest.mark.parametrize(("seeds", "first"), [(3, 0.73), (5, 0.97)])
def test_shared_ranks_keep_their_level_and_show_a_lead(seeds, first):
    found = simulate_shared(Setting(1, seeds, (0.3, 0.3), 0.4), 1500, seed=70)
    assert found[0] < 0.05 + error(0.05, 1500)
    assert abs(found[1] - first) < error(first, 1500, REPLICATIONS)
    assert simulate_shared(Setting(1, seeds, (0.3, 0.3), 0.4, odd=3.0), 1500, seed=71)[0] > 0.06, "as the page says"


def page_lines() -> list[str]:
    text = PAGE.read_text()
    assert text.count(MARKS[0]) == text.count(MARKS[1]) == 1
    return text.split(MARKS[0])[1].split(MARKS[1])[0].strip().splitlines()


def without_results(lines: list[str]) -> list[str]:
    return [re.sub(r"\b\d+\.\d{3}\b", "#", line) for line in lines]


def test_the_page_has_the_tools_tables():
    lines = page_lines()
    assert lines[0].startswith(f"{REPLICATIONS:,} studies a row")
    assert without_results(lines[1:]) == without_results(tables(20).strip().splitlines()[1:])


@pytest.mark.parametrize(
    ("setting", "row"),
    [
        (Setting(1, 3, (0.3, 0.3), 0.0), "| 1 | 3 | 0.3 | 0 |"),
        (Setting(8, 5, (0.3, 0.3), 0.8), "| 8 | 5 | 0.3 | 0.8 |"),
        (Setting(8, 3, (0.15, 0.15), 0.4, odd=3.0), "| a method with three times the spread | 8 | 3 | 0.15 | 0.4 |"),
    ],
)
def test_the_pages_numbers_are_found_again(setting, row):
    [line] = [line for line in page_lines() if line.startswith(row)]
    stated = [float(cell) for cell in line.removeprefix(row).strip(" |").split(" | ")]
    found = simulate(setting, STUDIES, seed=77)
    for place in (0, 2, 4):
        assert abs(found[place] - stated[place]) < error(stated[place], STUDIES, REPLICATIONS)
    assert (found[1], found[3]) == pytest.approx((stated[1], stated[3]), rel=0.04)
