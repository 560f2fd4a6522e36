"""Simulate the gate's rule and write the tables of docs/gate.md between their markers.

`python tools/gate_characteristics.py` takes a few minutes of one core. Every simulated study goes through
`bench.gate.decision.decide`, the code that decides real ones. A setting has random numbers of its own, so that any
row can be computed alone and comes out the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from bench.gate.decision import PASS, REGRESSION, RULE, Rule, decide
from methods.ops.keys import Key

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gate.md"
STUDIES = 10_000
BLOCK = 2_000
"""Studies simulated at once, to bound memory."""
DROPS = (0.3, 0.5, 1.0)
FLOOR = 0.01
"""One of 10,000 test images, in points."""


@dataclass(frozen=True)
class Setting:
    """A simulated study. Values are normal with seed spread `sd` (points); those of one seed correlate.

    arms: table rows gated together. drop: true loss of points in the first arm, or in all of them if `everywhere`.
    wide: the first arm's spread as a multiple of the others'. base_seeds: seeds in the baseline.
    """

    sd: float
    margin: float
    arms: int
    drop: float = 0.0
    everywhere: bool = False
    correlation: float = 0.0
    wide: float = 1.0
    base_seeds: int = 10


@dataclass(frozen=True)
class Characteristics:
    """Shares of studies that pass, regress or stay open after the last look, and mean new seeds of an arm."""

    passed: float
    regressed: float
    open: float
    seeds: float


def simulate(setting: Setting, studies: int = STUDIES, rule: Rule = RULE) -> Characteristics:
    """What the rule does in this setting."""
    generator = Key("gate characteristics", *map(str, astuple(setting))).generator()
    totals = np.zeros(3)
    for start in range(0, studies, BLOCK):
        count = min(BLOCK, studies - start)
        new, base = (_values(setting, generator, count, seeds) for seeds in (5, setting.base_seeds))
        new[..., slice(None) if setting.everywhere else slice(0, 1)] -= setting.drop
        arms = setting.arms
        found = decide(new, base, np.full(arms, setting.margin), [0] * arms, np.full(arms, FLOOR), rule)
        regressed = (found.code == REGRESSION).any(axis=1) | found.mean_regressed
        passed = (found.code == PASS).all(axis=1) & ~regressed
        totals += (passed.sum(), regressed.sum(), found.seeds.mean(axis=1).sum())
    passed, regressed, seeds = (float(total) / studies for total in totals)
    return Characteristics(passed, regressed, max(0.0, 1 - passed - regressed), seeds)


def _values(setting: Setting, generator: np.random.Generator, studies: int, seeds: int) -> np.ndarray:
    shared = generator.standard_normal((studies, seeds, 1))
    own = generator.standard_normal((studies, seeds, setting.arms))
    values = setting.sd * (setting.correlation**0.5 * shared + (1 - setting.correlation) ** 0.5 * own)
    values[..., 0] *= setting.wide
    return values


def operating_settings() -> Iterator[tuple[Setting, ...]]:
    """The rows of the first table: no change, then the drops in one arm and in all arms."""
    for arms in (1, 5, 20):
        for margin in (0.5, 1.0):
            for sd in (0.15, 0.2, 0.3, 0.45):
                one = tuple(Setting(sd, margin, arms, drop) for drop in DROPS)
                every = tuple(Setting(sd, margin, arms, drop, everywhere=True) for drop in DROPS)
                yield Setting(sd, margin, arms), *one, *(every if arms > 1 else ())


def false_alarm_settings() -> Iterator[Setting]:
    """The rows of the second table: nothing has changed, but an assumption does not hold."""
    for arms in (5, 20):
        for correlation in (0.0, 0.4, 0.8):
            yield Setting(0.3, 0.5, arms, correlation=correlation)
        for wide in (2.0, 3.0):
            yield Setting(0.3, 0.5, arms, wide=wide)
        for base_seeds in (3, 5, 20):
            yield Setting(0.3, 0.5, arms, base_seeds=base_seeds)
        yield Setting(0.3, 0.5, arms, wide=2.0, base_seeds=5)


def operating_table() -> str:
    """Pass / regression / open in % and mean seeds at each drop, one line a seed spread, margin and number of arms."""
    heads = ["arms", "margin", "seed sd", "no change"]
    heads += [f"one arm -{drop}" for drop in DROPS] + [f"all arms -{drop}" for drop in DROPS]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for settings in operating_settings():
        found = [simulate(setting) for setting in settings]
        setting = settings[0]
        shown = [str(setting.arms), f"{setting.margin}", f"{setting.sd}"]
        shown += [f"{shares(one)}, {one.seeds:.1f}" for one in found]
        lines.append(_line(shown + [""] * (len(heads) - len(shown))))
    return "\n".join(lines)


def false_alarm_table() -> str:
    """False regressions in % where an assumption does not hold."""
    heads = ["arms", "correlation within a seed", "first arm's spread", "baseline seeds", "false regressions", "pass"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for setting in false_alarm_settings():
        found = simulate(setting)
        shown = [str(setting.arms), f"{setting.correlation}", f"x {setting.wide:g}", str(setting.base_seeds)]
        lines.append(_line([*shown, f"{100 * found.regressed:.1f}", f"{100 * found.passed:.1f}"]))
    return "\n".join(lines)


def shares(found: Characteristics) -> str:
    """Pass / regression / open in %."""
    return " / ".join(f"{100 * share:.1f}" for share in (found.passed, found.regressed, found.open))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def replaced(page: str, name: str, table: str) -> str:
    """The page with the table between its markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def main() -> int:
    """Write both tables."""
    page = PAGE.read_text(encoding="utf-8")
    page = replaced(page, "operating characteristics", operating_table())
    page = replaced(page, "false alarms", false_alarm_table())
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
