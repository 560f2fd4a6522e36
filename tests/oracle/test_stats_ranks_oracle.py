"""Ranks, critical differences and resampled summaries against scipy, scikit-posthocs and slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scikit_posthocs
from scipy import stats as scipy_stats

from bench.stats import (
    critical_difference,
    friedman_probability,
    indistinct_groups,
    interquartile_mean,
    mean_ranks,
    ranks,
    summaries,
)
from bench.stats.resampling import exceeding_share, improvement_probability, resampled_places


def scores(seed: int, sets: int, methods: int, decimals: int = 6) -> tuple[list[dict[str, float]], np.ndarray]:
    drawn = np.random.default_rng(seed).normal(np.linspace(0, 1.5, methods), 1, (sets, methods)).round(decimals)
    return [{f"m{at}": float(value) for at, value in enumerate(row)} for row in drawn], drawn


@pytest.mark.parametrize("decimals", [0, 6])
@pytest.mark.parametrize(("sets", "methods"), [(8, 3), (12, 7), (20, 5)])
def test_ranks_and_friedman_are_scipys(sets, methods, decimals):
    found, drawn = scores(sets, sets, methods, decimals)
    expected = scipy_stats.rankdata(-drawn, axis=1)
    assert [list(ranks(one).values()) for one in found] == expected.tolist()
    assert list(mean_ranks(found).values()) == pytest.approx(expected.mean(0))
    assert friedman_probability(found) == pytest.approx(scipy_stats.friedmanchisquare(*drawn.T).pvalue, rel=1e-9)


def test_all_methods_tied_everywhere_are_no_different():
    assert friedman_probability([{"a": 1.0, "b": 1.0, "c": 1.0}] * 8) == 1.0


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_has_demsars_published_quantiles(methods, q):
    assert critical_difference(methods, 14) == pytest.approx(q * (methods * (methods + 1) / 84) ** 0.5, rel=5e-4)


def test_pairs_beyond_the_critical_difference_are_those_of_scikit_posthocs():
    found, drawn = scores(3, 20, 5)
    p_values = scikit_posthocs.posthoc_nemenyi_friedman(drawn).to_numpy()
    mean_rank = list(mean_ranks(found).values())
    critical = critical_difference(5, 20)
    for one, other in itertools.combinations(range(5), 2):
        assert (abs(mean_rank[one] - mean_rank[other]) >= critical) == (p_values[one, other] < 0.05)
    assert (p_values < 0.05).any()


@pytest.mark.parametrize("seed", range(6))
def test_bars_are_the_maximal_groups(seed):
    mean_rank = {f"m{at}": float(rank) for at, rank in enumerate(np.random.default_rng(seed).uniform(1, 7, 7))}
    ordered = sorted(mean_rank, key=lambda name: mean_rank[name])
    alike = [
        ordered[start:end]
        for start, end in itertools.combinations(range(8), 2)
        if end - start > 1 and mean_rank[ordered[end - 1]] - mean_rank[ordered[start]] < 1.7
    ]
    expected = [group for group in alike if not any(set(group) < set(other) for other in alike)]
    assert indistinct_groups(mean_rank, 1.7) == expected


@pytest.mark.parametrize("count", [4, 7, 8, 13])
def test_interquartile_mean_is_scipys_trimmed_mean(count):
    drawn = np.random.default_rng(count).normal(size=count)
    assert interquartile_mean(drawn.tolist()) == pytest.approx(scipy_stats.trim_mean(drawn, 0.25), rel=1e-12)


def drawn_cells(seed: int, sizes: list[int]) -> list[list[tuple[float, float]]]:
    generator = np.random.default_rng(seed)
    return [
        [(float(own), float(base)) for own, base in generator.normal([0.2, 0], 0.5, (size, 2)).round(1)]
        for size in sizes
    ]


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    cells = drawn_cells(1, [3, 5, 4])
    expected = np.mean(
        [
            scipy_stats.mannwhitneyu([own for own, _ in pairs], [base for _, base in pairs]).statistic / len(pairs) ** 2
            for pairs in cells
        ]
    )
    assert improvement_probability(cells) == pytest.approx(expected)


def test_resampled_intervals_against_a_slow_loop():
    cells, thresholds = drawn_cells(2, [3, 2, 4, 3, 3, 5, 1, 3, 2]), (-0.5, 0.0, 0.3)
    found = summaries(cells, thresholds, seed=5, resamples=300)
    chosen, places = resampled_places([len(pairs) for pairs in cells], 5, 300)
    used = [0] * len(cells)
    middles, better, shares = [], [], []
    for row in chosen.tolist():
        drawn = []
        for cell in row:
            drawn.append([cells[cell][pick] for pick in places[cell][used[cell]]])
            used[cell] += 1
        middles.append(scipy_stats.trim_mean([np.mean([a - b for a, b in pairs]) for pairs in drawn], 0.25))
        better.append(improvement_probability(drawn))
        shares.append([exceeding_share(drawn, threshold) for threshold in thresholds])
    assert found.resampled is not None
    for interval, estimate, sample in (
        (found.resampled.interquartile_mean, found.interquartile_mean, middles),
        (found.resampled.improvement, found.improvement, better),
        *zip(found.resampled.profile, found.profile, np.transpose(shares), strict=True),
    ):
        assert (interval.low, interval.high) == pytest.approx(np.quantile(sample, (0.025, 0.975)), abs=1e-12)
        assert interval.estimate == estimate
    assert found.profile[1] == np.mean([np.mean([a - b > 0 for a, b in pairs]) for pairs in cells])


def test_the_resampling_seed_is_honoured():
    cells = drawn_cells(3, [3] * 8)
    first, again, other = (summaries(cells, (0.0,), seed=seed, resamples=200) for seed in (1, 1, 2))
    assert first == again
    assert first.resampled != other.resampled
    assert first.interquartile_mean == other.interquartile_mean


def test_few_cells_have_no_resampled_intervals():
    assert summaries(drawn_cells(4, [3] * 7), (0.0,)).resampled is None
    with pytest.raises(ValueError, match="at least 4 cells"):
        summaries(drawn_cells(4, [3] * 3), (0.0,))
