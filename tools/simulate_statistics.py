"""How often the intervals and tests of `mixbench compare` hold, by simulation; writes the tables of docs/statistics.md.

python tools/simulate_statistics.py            write the tables (about a minute on one core)
python tools/simulate_statistics.py --print    print them
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.stats import SEED, critical_difference, shared_ranks
from bench.stats.interval import t_interval
from bench.stats.resampling import resampled_places
from tools.simulated_cells import (
    ALPHA,
    Floats,
    differences,
    draw,
    lone_seeds,
    mean_effects,
    p_values,
    reach,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "statistics.md"
REPLICATIONS = 10_000
METHODS = 7
RESAMPLES = 1000
MARKS = ("<!-- simulated: begin -->", "<!-- simulated: end -->")


class Setting(NamedTuple):
    """A study: cells of one data set, seeds, seed spread in points (lowest and highest over cells), correlation."""

    cells: int
    seeds: int
    spread: tuple[float, float]
    rho: float
    odd: float = 1.0
    """How many times the others' spread the first method has."""
    methods: int = METHODS

    @property
    def spreads(self) -> Floats:
        """Spread by cell and method, (cells, methods); the first cell has the highest."""
        lowest, highest = self.spread
        made = np.repeat(np.linspace(highest, lowest, self.cells)[:, None], self.methods, 1)
        made[:, 1] *= self.odd
        return made


class Outcome(NamedTuple):
    """Shares of studies in which an interval held, half its median width, and in which Holm found what is not there."""

    cell: float
    cell_reach: float
    mean: float
    mean_reach: float
    false_alarm: float


SETTINGS = [
    *(Setting(cells, seeds, (0.3, 0.3), rho) for cells, seeds, rho in
      itertools.product((1, 2, 8, 20), (2, 3, 5, 10), (0.0, 0.4, 0.8))),
    *(Setting(cells, 3, (spread, spread), 0.4) for cells, spread in itertools.product((1, 8), (0.15, 0.45))),
]  # fmt: skip
AWKWARD = {
    "two methods only": [
        Setting(cells, seeds, (0.3, 0.3), 0.4, methods=2) for cells, seeds in ((1, 3), (1, 5), (8, 3), (8, 5))
    ],
    "two methods, cells of different spread": [Setting(8, seeds, (0.2, 0.3), 0.4, methods=2) for seeds in (3, 5)],
    "cells of different spread": [
        Setting(8, seeds, spread, 0.4) for spread in ((0.2, 0.3), (0.15, 0.45)) for seeds in (3, 5, 10)
    ],
    "a method with three times the spread": [
        Setting(cells, seeds, (0.15, 0.15), 0.4, odd=3.0) for cells in (1, 2, 8) for seeds in (3, 5, 10)
    ],
}
LONE = [(seeds, rho) for seeds in (1, 3, 5) for rho in (0.0, 0.4, 0.8)]
SAMPLED = [(4, 3), (8, 3), (8, 5), (20, 3), (20, 5)]
RANKED = [(8, 4), (8, 7), (12, 7), (20, 7)]
SHARED = [
    *(Setting(1, seeds, (0.3, 0.3), 0.4, methods=methods) for methods in (METHODS, 20) for seeds in (2, 3, 5, 10)),
    *(Setting(1, seeds, (0.3, 0.3), 0.4, odd=3.0) for seeds in (3, 5, 10)),
]
LEAD = 1.0
"""Points by which one method is truly better than all others, where shared ranks are asked to show it."""


def simulate(setting: Setting, replications: int, seed: int) -> Outcome:
    """No true differences; the first method's interval in the first cell, and over all cells."""
    generator = np.random.default_rng(seed)
    found = differences(draw(generator, replications, setting.spreads, setting.seeds, setting.rho))
    width = reach(found.square, found.df)
    value, square, df = (one[:, 0] for one in mean_effects(found))
    mean_width = reach(square, df)
    smallest = p_values(*found[:3]).reshape(replications, -1).min(1)
    return Outcome(
        float((np.abs(found.value[:, 0, 0]) <= width[:, 0, 0]).mean()), float(np.median(width[:, 0, 0])),
        float((np.abs(value) <= mean_width).mean()), float(np.median(mean_width)),
        float((smallest * setting.cells * (setting.methods - 1) < ALPHA).mean()),
    )  # fmt: skip


def simulate_lone(seeds: int, rho: float, replications: int, seed: int) -> tuple[float, float]:
    """Coverage and half width where the base has 10 seeds and every other method fewer; seed spread 0.3."""
    value, square, df = lone_seeds(np.random.default_rng(seed), replications, METHODS, seeds, 10, rho, 0.3)
    width = reach(square, np.asarray(float(df)))
    return float((np.abs(value) <= width).mean()), float(np.median(width))


def simulate_sampled(cells: int, seeds: int, replications: int, seed: int) -> tuple[float, float, float]:
    """Coverage, for further cells, of the bootstrap of interquartile mean and improvement, and of the t interval.

    Each cell is a data set whose true difference is normal, mean 0.3, sd 0.3; seed spread 0.2, independent.
    """
    generator = np.random.default_rng(seed)
    shift = generator.normal(0.3, 0.3, (replications, cells))
    effects = np.stack([np.zeros_like(shift), shift], 2)
    base, own = np.moveaxis(draw(generator, replications, np.full((cells, 2), 0.2), seeds, 0.0, effects), 2, 0)
    chosen, places = resampled_places([seeds] * cells, SEED, RESAMPLES)
    slots = np.zeros((cells, seeds, RESAMPLES, cells), np.float32)
    pairs = np.zeros((cells, seeds, seeds, RESAMPLES), np.float32)
    for cell in range(cells):
        counts = np.stack([(places[cell] == pick).mean(1) for pick in range(seeds)])
        slots[cell][:, chosen == cell] = counts
        beaten = np.zeros((seeds, seeds, RESAMPLES, cells), np.float32)
        beaten[:, :, chosen == cell] = counts[:, None] * counts / cells
        pairs[cell] = beaten.sum(3)
    cut = cells // 4
    ends = (ALPHA / 2, 1 - ALPHA / 2)
    covered = np.zeros(2)
    truth = float(special.ndtr(0.3 / math.hypot(0.3, 0.2 * math.sqrt(2))))
    for part in np.array_split(np.arange(replications), max(1, replications // 250)):
        gaps = (own[part] - base[part]).reshape(len(part), -1).astype(np.float32)
        means = np.sort((gaps @ slots.reshape(gaps.shape[1], -1)).reshape(len(part), RESAMPLES, cells), 2)
        middle = np.quantile(means[:, :, cut : cells - cut].mean(2), ends, axis=1)
        beats = (own[part][:, :, :, None] > base[part][:, :, None, :]).reshape(len(part), -1).astype(np.float32)
        better = np.quantile(beats @ pairs.reshape(beats.shape[1], -1), ends, axis=1)
        covered += [((low <= true) & (true <= high)).sum() for (low, high), true in ((middle, 0.3), (better, truth))]
    averages = (own - base).mean(2)
    reached = t_interval(0.0, 1.0, cells - 1, cells).high * averages.std(1, ddof=1) / math.sqrt(cells)
    sampled = float((np.abs(averages.mean(1) - 0.3) <= reached).mean())
    return float(covered[0] / replications), float(covered[1] / replications), sampled


def simulate_ranks(data_sets: int, methods: int, replications: int, seed: int) -> tuple[float, float]:
    """False alarms, without any difference: Friedman's test, and any pair of mean ranks beyond the critical one."""
    values = np.random.default_rng(seed).standard_normal((replications, data_sets, methods))
    ranked = values.argsort(2).argsort(2) + 1.0
    total = ranked.sum(1)
    statistic = 12 * (total**2).sum(1) / (data_sets * methods * (methods + 1)) - 3 * data_sets * (methods + 1)
    apart = (total.max(1) - total.min(1)) / data_sets >= critical_difference(methods, data_sets)
    return float((special.chdtrc(methods - 1, statistic) < ALPHA).mean()), float(apart.mean())


def simulate_shared(setting: Setting, replications: int, seed: int) -> tuple[float, float]:
    """Shares of studies of one cell: with any rank but 1, all methods being equal; with the one better method first.

    The better method has rank 1 alone. The odd method, if there is one, is another.
    """
    values = draw(np.random.default_rng(seed), replications, setting.spreads, setting.seeds, setting.rho)[:, 0]
    led = values + np.where(np.arange(setting.methods) == 0, LEAD, 0)[:, None]
    found = [[_shared(study) for study in one] for one in (values, led)]
    apart = np.mean([max(ranks) > 1 for ranks in found[0]])
    first = np.mean([ranks[0] == 1 and min(ranks[1:]) > 1 for ranks in found[1]])
    return float(apart), float(first)


def _shared(study: Floats) -> list[int]:
    return list(shared_ranks({str(at): dict(enumerate(own)) for at, own in enumerate(study.tolist())}).values())


def tables(replications: int = REPLICATIONS) -> str:
    """All tables as Markdown."""
    error = 3 * math.sqrt(ALPHA * (1 - ALPHA) / replications)
    lines = [
        f"{replications:,} studies a row, {METHODS} methods unless said; three Monte-Carlo errors of a share of 0.95 "
        f"are {error:.4f}.",
        "",
    ]
    for _, rows in blocks(replications):
        lines += [*rows, ""]
    return "\n".join(lines)


def blocks(replications: int) -> Iterator[tuple[str, list[str]]]:
    """Each table by name, as lines."""
    heading = ["cells", "seeds", "seed sd", "rho", "cell interval covers", "+-", "mean interval covers", "+-",
               "Holm false alarm"]  # fmt: skip
    rows = [_row(setting, replications, place) for place, setting in enumerate(SETTINGS)]
    yield "cells", _table("Equal spreads, no true differences", heading, rows)
    rows = [
        [name, *_row(setting, replications, 1000 + place)]
        for place, (name, setting) in enumerate((name, one) for name, group in AWKWARD.items() for one in group)
    ]
    yield "awkward", _table("Awkward studies", ["study", *heading], rows)
    rows = [
        [str(seeds), f"{rho:g}", *_numbers(simulate_lone(seeds, rho, replications, 2000 + place))]
        for place, (seeds, rho) in enumerate(LONE)
    ]
    yield "lone", _table("The base has 10 seeds, every other method fewer (seed sd 0.3, one cell)",
                         ["seeds", "rho", "interval covers", "+-"], rows)  # fmt: skip
    rows = [
        [str(cells), str(seeds), *_numbers(simulate_sampled(cells, seeds, replications, 3000 + place))]
        for place, (cells, seeds) in enumerate(SAMPLED)
    ]
    yield "sampled", _table("Further data sets like these (one cell each, true differences 0.3 +- 0.3, seed sd 0.2)",
                            ["data sets", "seeds", "interquartile mean covers", "improvement covers",
                             "t interval covers"], rows)  # fmt: skip
    rows = [
        [str(sets), str(methods), *_numbers(simulate_ranks(sets, methods, replications, 4000 + place))]
        for place, (sets, methods) in enumerate(RANKED)
    ]
    yield "ranks", _table("Ranks without any difference", ["data sets", "methods", "Friedman false alarm",
                                                           "critical difference false alarm"], rows)  # fmt: skip
    rows = [
        [str(one.methods), str(one.seeds), "one has three times the others'" if one.odd > 1 else "equal",
         *_numbers(simulate_shared(one, replications, 5000 + place))]
        for place, one in enumerate(SHARED)
    ]  # fmt: skip
    title = f"Shared ranks in one cell (seed sd 0.3, rho 0.4; the better method leads by {LEAD:g} point)"
    heading = ["methods", "seeds", "spread", "any false order", "the better method is first alone"]
    yield "shared", _table(title, heading, rows)


def _row(setting: Setting, replications: int, seed: int) -> list[str]:
    low, high = setting.spread
    spread = f"{low:g}" if low == high else f"{low:g}-{high:g}"
    return [
        str(setting.cells), str(setting.seeds), spread, f"{setting.rho:g}",
        *_numbers(simulate(setting, replications, seed)),
    ]  # fmt: skip


def _numbers(values: tuple[float, ...]) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _table(title: str, heading: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heading, ["---:" for _ in heading], *rows]
    return [f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines)]


def main() -> None:
    """Write or print the tables."""
    parser = argparse.ArgumentParser(description="Simulate the statistics of mixbench compare.")
    parser.add_argument("--print", action="store_true", help="print the tables, write nothing")
    parser.add_argument("--replications", type=int, default=REPLICATIONS, help="studies a row")
    options = parser.parse_args()
    text = tables(options.replications)
    if options.print:
        print(text)
        return
    page = PAGE.read_text()
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
