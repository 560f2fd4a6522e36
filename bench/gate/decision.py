"""The gate's rule: what new seeds say against a stored baseline, look by look. One study, or many simulated ones.

Differences are new minus baseline in percentage points. Each look spends alpha / looks, one-sided:

- an arm regresses when its drop is shown (Student's t, Holm over the study's arms and their mean), passes half the
  margin, and is large for the arm's own spread; the mean over arms when its drop is shown and passes half of its own;
- an arm passes when it is not regressing and its drop is shown to be smaller than the margin; it needs no more seeds;
- else it is open, and the next look wants more seeds. After the last look it stays open: a person decides.

The study ends with the first regression. A pass is not corrected for the number of arms: the study passes only when
every single arm does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.gate.spread import Floats, own_spread, seed_spread

OPEN, PASS, REGRESSION = 0, 1, 2
SMALLEST_MEAN_TEST = 3
"""Baseline seeds that all arms must share before their mean is tested."""
FEWEST_OF_ITS_OWN = 8
"""Baseline seeds from which on an arm's own spread has a say; that of fewer would hide most drops."""


@dataclass(frozen=True)
class Rule:
    """alpha: chance of a false regression in a whole study. looks: new seeds after which a decision is tried."""

    alpha: float = 0.05
    looks: tuple[int, ...] = (1, 3, 5)

    @property
    def look_alpha(self) -> float:
        """What one look may spend."""
        return self.alpha / len(self.looks)


RULE = Rule()


@dataclass(frozen=True)
class Decision:
    """Arrays over studies and arms (studies, arms), or over studies (studies,) where the name begins with mean.

    code: OPEN, PASS or REGRESSION. seeds: new seeds used. difference, low, high: estimate with the ends of one-sided
    1 - alpha / looks intervals. p: of a drop, corrected for arms and looks, to be compared with alpha.
    mean_regressed: the mean over arms dropped. wanted: (studies,) new seeds that open arms need next; 0 when there is
    nothing more to look at.
    """

    code: NDArray[np.int8]
    seeds: NDArray[np.int64]
    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    mean_regressed: NDArray[np.bool_]
    mean_difference: Floats
    mean_p: Floats
    wanted: NDArray[np.int64]


def mean_margin(margin: Floats) -> float:
    """The margin of the mean over arms: the arms' mean margin by their number's root, but at least half of it."""
    return float(margin.mean() * max(0.5, margin.size**-0.5))


def holm(p: Floats) -> Floats:
    """p values corrected for their number along the last axis (Holm 1979)."""
    count = p.shape[-1]
    order = np.argsort(p, axis=-1)
    factors = count - np.arange(count)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * factors, axis=-1)
    corrected = np.empty_like(stepped)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), axis=-1)
    return corrected


def decide(
    new: Floats, base: Floats, margin: Floats, groups: Sequence[int], floor: Floats, rule: Rule = RULE
) -> Decision:
    """Replay the looks of every study.

    new: (studies, seeds, arms) new values in the order in which seeds count, NaN where there is none; every arm has
    the first. base: (studies, baseline seeds, arms), NaN where there is none. margin: (arms,) points. groups: as
    `seed_spread` has them. floor: (arms,) the smallest standard deviation to believe in, such as one test image.
    A look takes place once every open arm has its seeds, and uses the first ones only.
    """
    study = _Study(new, base, margin, groups, floor, rule)
    for wanted in rule.looks:
        study.look(wanted)
    return study.decision()


class _Study:
    def __init__(
        self, new: Floats, base: Floats, margin: Floats, groups: Sequence[int], floor: Floats, rule: Rule
    ) -> None:
        self.new, self.margin, self.rule = new, margin, rule
        studies, _, arms = new.shape
        self.counts = np.isfinite(base).sum(axis=-2)
        self.base_mean = np.nanmean(base, axis=-2)
        variance, self.df = seed_spread(base, groups)
        self.variance = np.maximum(variance, floor**2)
        own = own_spread(base)
        self.own_variance, self.own_df = np.maximum(own.variance, floor**2), own.df
        self.floor = floor
        shared = np.isfinite(base).all(axis=(0, 2))
        self.residuals = base[:, shared] - base[:, shared].mean(axis=1, keepdims=True) if shared.any() else base[:, :0]
        self.code = np.full((studies, arms), OPEN, dtype=np.int8)
        self.seeds = np.ones((studies, arms), dtype=np.int64)
        self.latest = new[:, 0].copy()
        self.p = np.ones((studies, arms))
        self.mean_p = np.ones(studies)
        self.mean_regressed = np.zeros(studies, dtype=np.bool_)
        self.wanted = np.zeros(studies, dtype=np.int64)
        self.over = np.zeros(studies, dtype=np.bool_)

    def look(self, wanted: int) -> None:
        open_arms = (self.code == OPEN) & ~self.over[:, None]
        waiting = open_arms.any(axis=1)
        enough = self.new.shape[1] >= wanted
        have = np.isfinite(self.new[:, :wanted]).all(axis=1) if enough else np.zeros_like(open_arms)
        ready = waiting & (have | ~open_arms).all(axis=1)
        self.wanted = np.where(waiting & ~ready, wanted, self.wanted)
        self.over |= waiting & ~ready
        looked = open_arms & ready[:, None]
        if enough:
            self.latest = np.where(looked, self.new[:, :wanted].mean(axis=1), self.latest)
            self.seeds = np.where(looked, wanted, self.seeds)
        self._judge(looked, ready)

    def _judge(self, looked: NDArray[np.bool_], ready: NDArray[np.bool_]) -> None:
        alpha = self.rule.look_alpha
        difference, error = self.difference, self.error
        p = np.where(looked, special.stdtr(self.df, difference / error), 1.0)
        mean_p = self._mean_test()
        several = p.shape[1] > 1
        corrected = holm(np.concatenate([p, mean_p[:, None]], axis=1)) if several else p
        arms_p = corrected[:, : p.shape[1]]
        regressed = looked & (arms_p <= alpha) & (difference < -self.margin / 2)
        if several:
            regressed &= self._large_for_its_own_spread()
        passed = looked & ~regressed & (difference - special.stdtrit(self.df, 1 - alpha) * error > -self.margin)
        self.code[regressed], self.code[passed] = REGRESSION, PASS
        self.p = np.where(looked, np.minimum(arms_p * len(self.rule.looks), 1.0), self.p)
        if several:
            found = corrected[:, -1]
            dropped = ready & (found <= alpha) & (difference.mean(axis=1) < -mean_margin(self.margin) / 2)
            self.mean_regressed |= dropped
            self.mean_p = np.where(ready, np.minimum(found * len(self.rule.looks), 1.0), self.mean_p)
        self.over |= ready & (regressed.any(axis=1) | self.mean_regressed | (self.code == PASS).all(axis=1))

    @property
    def difference(self) -> Floats:
        return self.latest - self.base_mean

    @property
    def error(self) -> Floats:
        return np.sqrt(self.variance * (1 / self.seeds + 1 / self.counts))

    def _large_for_its_own_spread(self) -> NDArray[np.bool_]:
        """Whether an arm's own spread, unpooled, shows a drop at half of what a look may spend, uncorrected.

        Ten seeds rarely show Bartlett's test that one arm scatters twice as much as the others, and such an arm would
        raise most of a study's false alarms. The test with its own spread is right whatever the others' spread is.
        """
        error = np.sqrt(self.own_variance * (1 / self.seeds + 1 / self.counts))
        shown = special.stdtr(self.own_df, self.difference / error) <= self.rule.look_alpha / 2
        return shown | (self.counts < FEWEST_OF_ITS_OWN)

    def _mean_test(self) -> Floats:
        """p values of a drop of the mean over arms.

        Arms of one seed may move together, so the variance of their mean is taken from the baseline's seeds: that of
        the weighted sums over arms in which the new runs enter the mean, seed by seed, and of the baseline's own mean.
        """
        _, seeds, arms = self.residuals.shape
        if seeds < SMALLEST_MEAN_TEST:
            return np.ones(len(self.code))
        places = np.arange(self.seeds.max())
        weights = (places[None, :, None] < self.seeds[:, None, :]) / (arms * self.seeds[:, None, :])
        sums = np.einsum("rba,rna->rbn", self.residuals, weights)
        of_new = (sums**2).sum(axis=(1, 2)) / (seeds - 1)
        of_base = (self.residuals.mean(axis=2) ** 2).sum(axis=1) / (seeds - 1) / seeds
        least = (self.floor**2 * (1 / self.seeds + 1 / self.counts)).sum(axis=1) / arms**2
        return special.stdtr(seeds - 1, self.difference.mean(axis=1) / np.sqrt(np.maximum(of_new + of_base, least)))

    def decision(self) -> Decision:
        reach = special.stdtrit(self.df, 1 - self.rule.look_alpha) * self.error
        return Decision(
            self.code, self.seeds, self.difference, self.difference - reach, self.difference + reach, self.p,
            self.mean_regressed, self.difference.mean(axis=1), self.mean_p, self.wanted,
        )  # fmt: skip
