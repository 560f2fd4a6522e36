"""How often the gate's rule should find what the demonstration plants, simulated through the rule itself."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.gate.decision import PASS, REGRESSION, Rule, decide
from methods.ops.keys import Key
from tools.gate_characteristics import STUDIES, Setting, simulate

EXAMPLE_DROPS = (0.0, 1.0, 2.0, 3.0, 4.0)
Values = dict[str, dict[int, float]]
"""Test top-1 in % by method and seed."""


@dataclass(frozen=True)
class Situation:
    """What one stored baseline meets.

    base: its values. healthy: by method all values of unchanged code that no verdict selected. spreads: by method the
    standard deviation that the rule uses. margin: points. test_images: how many images a value is a share of.
    """

    base: Values
    healthy: dict[str, list[float]]
    spreads: dict[str, float]
    margin: float
    rule: Rule
    test_images: int

    @property
    def pooled(self) -> float:
        """One spread for all rows."""
        return statistics.fmean(spread**2 for spread in self.spreads.values()) ** 0.5

    def setting(self, drop: float) -> Setting:
        """The same with a baseline of its own for every study."""
        seeds = min(len(values) for values in self.base.values())
        return Setting(round(self.pooled, 3), self.margin, len(self.base), round(drop, 3), base_seeds=seeds)


def expected(situation: Situation, effect: dict[str, Any] | None, method: str) -> dict[str, Any]:
    """Shares of studies that pass, regress or stay open.

    Under "stated" every study has a baseline of its own and values are normal, as in the other tables of docs/gate.md;
    under "this baseline" all are compared with the one that was made; under "as scattered" too, but values are drawn
    from those of the healthy runs instead of a normal distribution. drop: by how many points the method's row is
    really worse, as measured and two standard errors either way.
    """
    drops = {"no change": 0.0}
    if effect is not None:
        drops["measured"] = -effect["change"]
        drops["two errors less"] = -effect["change"] - 2 * effect["standard_error"]
        drops["two errors more"] = -effect["change"] + 2 * effect["standard_error"]
    made: dict[str, Any] = {"spread": situation.pooled}
    for name, drop in drops.items():
        found = simulate(situation.setting(drop), rule=situation.rule)
        made[name] = {
            "drop": drop,
            "stated": [found.passed, found.regressed, found.open],
            "this baseline": against_one(situation, {method: drop}, name),
            "as scattered": against_one(situation, {method: drop}, name, normal=False),
        }
    return made


def against_one(situation: Situation, drops: dict[str, float], name: str, *, normal: bool = True) -> list[float]:
    """Pass, regression and open of studies that are all compared with the baseline that was made."""
    rows = list(situation.base)
    generator = Key("gate demonstration", name).generator()
    stored = np.array([list(situation.base[row].values()) for row in rows]).T
    looks = situation.rule.looks[-1]
    new = np.empty((STUDIES, looks, len(rows)))
    for place, row in enumerate(rows):
        values = np.array(situation.healthy[row])
        if normal:
            noise = generator.standard_normal((STUDIES, looks)) * situation.spreads[row]
            new[..., place] = values.mean() + noise
        else:
            new[..., place] = generator.choice(values, (STUDIES, looks))
        new[..., place] -= drops.get(row, 0.0)
    found = decide(
        new, np.broadcast_to(stored, (STUDIES, *stored.shape)), np.full(len(rows), situation.margin), [0] * len(rows),
        np.full(len(rows), 100 / situation.test_images), situation.rule,
    )  # fmt: skip
    regressed = (found.code == REGRESSION).any(axis=1) | found.mean_regressed
    passed = (found.code == PASS).all(axis=1) & ~regressed
    return [float(passed.mean()), float(regressed.mean()), float(1 - passed.mean() - regressed.mean())]


def example(situation: Situation) -> list[dict[str, float]]:
    """The example suite when one of its rows drops, every study with a baseline of its own."""
    return [{"drop": drop, **asdict(simulate(situation.setting(drop), rule=situation.rule))} for drop in EXAMPLE_DROPS]
