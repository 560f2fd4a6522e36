"""The rule against a slow implementation from scipy, one study and one look at a time."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import special, stats

from bench.gate.decision import OPEN, PASS, REGRESSION, Rule, decide, holm, mean_margin
from bench.gate.spread import seed_spread
from bench.stats import equal_spread_probability, seed_variance


def student(value, df):
    """Student's distribution function from the incomplete beta function."""
    tail = special.betainc(df / 2, 0.5, df / (df + value**2)) / 2
    return tail if value < 0 else 1 - tail


LOOKS, ALPHA = (1, 3, 5), 0.05


def slow_spread(base, groups):
    variance, df = [], []
    for arm, group in enumerate(groups):
        own = [base[np.isfinite(base[:, other]), other] for other in range(base.shape[1]) if groups[other] == group]
        if len(own) > 1 and stats.bartlett(*own).pvalue < 0.05:
            own = [base[np.isfinite(base[:, arm]), arm]]
        df.append(sum(len(values) - 1 for values in own))
        variance.append(sum((len(values) - 1) * values.var(ddof=1) for values in own) / df[-1])
    return np.array(variance), np.array(df)


@functools.cache
def quantile(df):
    return stats.t.ppf(1 - ALPHA / 3, df)


def stepped_down(p, alpha):
    """Holm's procedure as he gives it: from the smallest p value on, until one is too large."""
    rejected = [False] * len(p)
    for done, place in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        if p[place] > alpha / (len(p) - done):
            break
        rejected[place] = True
    return rejected


def slow_decision(new, base, margin, groups, floor):
    """The rule as docs/gate.md words it, with plain loops."""
    arms = base.shape[1]
    variance, df = slow_spread(base, groups)
    sd = np.maximum(np.sqrt(variance), floor)
    counts = np.isfinite(base).sum(axis=0)
    before = np.nanmean(base, axis=0)
    common = base[np.isfinite(base).all(axis=1)]
    covariance = np.atleast_2d(np.cov(common, rowvar=False))
    code, seeds = [OPEN] * arms, [1] * arms
    dropped = held = False
    for look in LOOKS:
        waiting = [arm for arm in range(arms) if code[arm] == OPEN]
        if not waiting or REGRESSION in code or dropped:
            break
        if any(np.isfinite(new[:look, arm]).sum() != look for arm in waiting):
            return code, seeds, dropped, look, held
        for arm in waiting:
            seeds[arm] = look
        change = np.array([new[: seeds[arm], arm].mean() for arm in range(arms)]) - before
        error = sd * np.sqrt([1 / seeds[arm] + 1 / counts[arm] for arm in range(arms)])
        p = [student(change[arm] / error[arm], df[arm]) if arm in waiting else 1.0 for arm in range(arms)]
        if arms > 1:
            weights = [np.array([(s < seeds[arm]) / seeds[arm] / arms for arm in range(arms)]) for s in range(look)]
            weights += [np.full(arms, 1 / arms)] * 1
            spread = sum(w @ covariance @ w for w in weights[:-1]) + weights[-1] @ covariance @ weights[-1] / len(
                common
            )
            p.append(student(change.mean() / np.sqrt(spread), len(common) - 1) if len(common) >= 3 else 1.0)
        shown = stepped_down(p, ALPHA / 3)
        for arm in waiting:
            reach = quantile(int(df[arm])) * error[arm]
            large = shown[arm] and change[arm] < -margin[arm] / 2
            if large and arms > 1 and counts[arm] >= 8:
                own = base[np.isfinite(base[:, arm]), arm]
                alone = max(own.std(ddof=1), floor[arm]) * np.sqrt(1 / seeds[arm] + 1 / len(own))
                held |= (too_little := student(change[arm] / alone, len(own) - 1) > ALPHA / 6)
                large = not too_little
            if large:
                code[arm] = REGRESSION
            elif change[arm] - reach > -margin[arm]:
                code[arm] = PASS
        key = max(0.5, 1 / np.sqrt(arms)) * margin.mean() / 2
        dropped = bool(arms > 1 and shown[-1] and change.mean() < -key)
    return code, seeds, dropped, 0, held


@pytest.mark.parametrize("arms", [1, 2, 5])
def test_decisions_equal_the_slow_rule(arms):
    generator = np.random.default_rng(arms)
    kinds = set()
    for case in range(90):
        rows = int(generator.integers(3, 12))
        base = generator.normal(90, 0.3, (rows, arms)) + generator.normal(0, 0.2, (rows, 1))
        new = generator.normal(90, 0.3, (5, arms)) - generator.choice([0, 0.3, 0.8]) * (generator.random(arms) < 0.4)
        if case % 3 == 0 and rows > 4:
            base[generator.integers(rows), generator.integers(arms)] = np.nan
        if case % 4 == 0:
            new[generator.integers(1, 5) :, generator.integers(arms)] = np.nan
        if case % 5 == 0:
            base[:, 0] = 90 + 8 * (base[:, 0] - 90)
        if case % 7 == 0:
            base[:, 0] += base[:, 0] - np.nanmean(base[:, 0])
            new[:, 0] -= 1.0
        margin, floor = generator.uniform(0.3, 1.2, arms), np.full(arms, 0.01)
        groups = list(generator.integers(0, 2, arms))
        found = decide(new[None], base[None], margin, groups, floor)
        code, seeds, dropped, wanted, held = slow_decision(new, base, margin, groups, floor)
        assert found.code[0].tolist() == code
        assert found.seeds[0].tolist() == seeds
        assert (bool(found.mean_regressed[0]), int(found.wanted[0])) == (dropped, wanted)
        kinds |= {*code, *(["mean"] if dropped else []), *(["wanted"] if wanted else []), *(["held"] if held else [])}
    assert {OPEN, PASS, REGRESSION, "wanted"} <= kinds
    assert ("mean" in kinds) == ("held" in kinds) == (arms > 1)


def test_many_studies_at_once_are_the_single_ones():
    generator = np.random.default_rng(9)
    base, new = generator.normal(90, 0.3, (40, 10, 3)), generator.normal(89.8, 0.3, (40, 5, 3))
    margin, floor = np.full(3, 0.5), np.full(3, 0.01)
    together = decide(new, base, margin, [0, 0, 0], floor)
    for place in range(8):
        alone = decide(new[place : place + 1], base[place : place + 1], margin, [0, 0, 0], floor)
        for field in ("code", "seeds", "difference", "low", "high", "p", "mean_p", "mean_regressed", "wanted"):
            np.testing.assert_allclose(getattr(alone, field)[0], getattr(together, field)[place], rtol=1e-12)


def test_corrected_p_values_reject_what_holm_rejects():
    for row in np.random.default_rng(2).uniform(0, 0.1, (50, 7)):
        corrected = holm(row)
        for alpha in (0.01, 0.05, 0.2, 0.5):
            assert (corrected <= alpha).tolist() == stepped_down(row.tolist(), alpha)


def test_spread_is_pooled_within_groups_and_only_where_it_is_equal():
    generator = np.random.default_rng(5)
    values = generator.normal(0, [1, 1, 6, 0.1, 0.1], (10, 5))
    found = seed_spread(values, [0, 0, 0, 1, 1])
    variance, df = slow_spread(values, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(found.variance, variance, rtol=1e-10)
    assert found.df.tolist() == df.tolist() == [9, 9, 9, 18, 18]
    arms = {str(arm): dict(enumerate(values[:, arm])) for arm in (3, 4)}
    assert equal_spread_probability(arms) > 0.05
    assert found.variance[3] == pytest.approx(seed_variance(arms).value)


def test_a_row_that_never_varies_is_believed_no_finer_than_its_floor():
    base, new = np.full((1, 10, 1), 100.0), np.full((1, 5, 1), 99.9)
    margin = np.array([0.05])
    assert decide(new, base, margin, [0], np.array([0.01])).code[0, 0] == REGRESSION
    assert decide(new, base, margin, [0], np.array([0.5])).code[0, 0] == OPEN


def test_a_drop_needs_both_keys():
    generator = np.random.default_rng(0)
    base = generator.normal(90, 0.05, (1, 10, 1))
    new = generator.normal(89.8, 0.05, (1, 5, 1))
    floor = np.array([0.01])
    assert decide(new, base, np.array([1.0]), [0], floor).code[0, 0] == PASS
    assert decide(new, base, np.array([0.3]), [0], floor).code[0, 0] == REGRESSION


@pytest.mark.parametrize(("seeds", "code"), [(8, OPEN), (7, REGRESSION)])
def test_a_drop_that_is_small_for_the_rows_own_spread_is_no_regression(seeds, code):
    """Unless its own spread rests on few seeds."""
    steady, noisy = np.linspace(-0.2, 0.2, seeds), np.linspace(-0.4, 0.4, seeds)
    base = 90 + np.stack([noisy, *[np.roll(steady, turn) for turn in range(6)]], axis=1)[None]
    new = np.full((1, 5, 7), 90.0)
    new[..., 0] -= 0.42
    found = decide(new, base, np.full(7, 0.6), [0] * 7, np.full(7, 0.01))
    assert found.p[0, 0] < 0.05
    assert found.code[0].tolist() == [code, *[PASS] * 6]


def test_the_first_seeds_count_and_further_ones_never():
    generator = np.random.default_rng(1)
    base, new = generator.normal(90, 0.4, (1, 10, 1)), generator.normal(90, 0.4, (1, 5, 1))
    more = np.concatenate([new, np.full((1, 20, 1), 10.0)], axis=1)
    margin, floor = np.array([0.5]), np.array([0.01])
    one, two = decide(new, base, margin, [0], floor), decide(more, base, margin, [0], floor)
    assert (one.code, one.seeds, one.difference) == (two.code, two.seeds, two.difference)


def test_the_margin_of_the_mean_shrinks_with_the_root_of_the_rows_to_a_half():
    assert [mean_margin(np.full(arms, 1.0)) for arms in (1, 2, 4, 20)] == pytest.approx([1, 0.5**0.5, 0.5, 0.5])


def test_looks_share_alpha():
    assert Rule().look_alpha == pytest.approx(0.05 / 3)
    assert Rule(0.1, (2, 4)).look_alpha == pytest.approx(0.05)
