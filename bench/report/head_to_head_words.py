"""What follows from a comparison and what does not, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.head_to_head import CellTest, HeadToHead, Overall
from bench.report.table import fixed
from bench.report.verdicts import ALPHA, better, number, p_text, shown, verdicts
from bench.stats import (
    FEWEST_CELLS,
    FEWEST_DATA_SETS,
    FEWEST_RESAMPLED,
    LEVEL,
    POWER,
    Variance,
    detectable_difference,
)

_POOLED = {
    "data set": "the methods of all cells of {data}, whose spreads agree",
    "cell": "the methods of this cell",
    "method": "each method's own seeds, since the methods' spreads differ",
}


def sentences(found: HeadToHead) -> list[str]:
    """All statements: each comparison, what each cell's seeds can show, the means over cells, ranks, and limits."""
    cells = list(dict.fromkeys(test.cell.id for test in found.tests))
    said: list[str] = []
    for cell in cells:
        own = [test for test in found.tests if test.cell.id == cell]
        said += verdicts(own, found)
        said += _power(own, found)
    for one in found.overall:
        said += _overall(one, found)
    return [*said, *_ranks(found), _limits(found)]


def spread_notes(found: HeadToHead) -> list[str]:
    """For each cell: the seed spread, over what it is pooled, Bartlett's p value, and what pairing by seed gains."""
    notes: list[str] = []
    for test in {test.cell.id: test for test in found.tests}.values():
        spread = test.spread
        if spread.paired is None or spread.single is None:
            notes.append(f"{test.cell.title}: no seed spread can be told.")
            continue
        words = f"seed spread {number(spread.single.value**0.5, found)}{found.metric.unit}"
        pooled = _POOLED[spread.pooled].format(data=test.cell.data)
        if spread.pooled != "method":
            words += f", from {pooled} ({spread.paired.df} degrees of freedom)"
        else:
            words += f" on average, but intervals rest on {pooled}"
        if spread.equal is not None:
            words += f"; Bartlett's test of equal spreads p {p_text(spread.equal)}"
        notes.append(f"{test.cell.title}: {words}; {_pairing(spread.correlation)}")
    return notes


def _power(tests: Sequence[CellTest], found: HeadToHead) -> list[str]:
    """What the seeds of a cell can show, for each group of tests that rests on equally many and one spread."""
    groups: dict[tuple[Variance, int], list[str]] = {}
    for test in tests:
        if test.estimate is not None:
            estimate = test.estimate
            single = Variance(estimate.variance.value * estimate.factor * estimate.n / 2, estimate.variance.df)
            groups.setdefault((single, estimate.n), []).append(test.row.name)
    said: list[str] = []
    for (variance, seeds), names in groups.items():
        whom = "" if len(groups) == 1 else f" of {', '.join(names)}"
        more = max(8, 2 * seeds)
        longer = Variance(variance.value, round(variance.df * (more - 1) / (seeds - 1)) if seeds > 1 else variance.df)
        said.append(
            f"{tests[0].cell.title}: {_seeds(seeds)}{whom} cannot show less than "
            f"{_detectable(variance, seeds, found)}{found.metric.unit} here "
            f"({POWER:.0%} of the time{_corrected(variance, seeds, found)}); {more} would show "
            f"{_detectable(longer, more, found)}{_bracketed(longer, more, found)}."
        )
    return said


def _detectable(variance: Variance, seeds: int, found: HeadToHead, tests: int = 1) -> str:
    return number(detectable_difference(variance, seeds, level=1 - ALPHA / tests), found)


def _corrected(variance: Variance, seeds: int, found: HeadToHead) -> str:
    if found.family < 2:
        return ", one test"
    return f", one test; {_detectable(variance, seeds, found, found.family)} as the hardest of {found.family}"


def _bracketed(variance: Variance, seeds: int, found: HeadToHead) -> str:
    return "" if found.family < 2 else f" ({_detectable(variance, seeds, found, found.family)})"


def _overall(one: Overall, found: HeadToHead) -> list[str]:
    cells = [test for test in one.tests if test.estimate is not None]
    if one.effect is None or len(cells) < 2:
        return []
    who = f"{one.method} against {found.base} over {len(cells)} cells of {_sets(len(one.data_sets))}"
    interval = shown(one.effect.interval(), found)
    wins = sum(test.estimate.value * (found.metric.direction or 1) > 0 for test in cells if test.estimate)
    word = "higher" if found.metric.direction == 0 else "better"
    verdict = f"{better(one.effect.value, found)} on average" if (one.adjusted or 1) < ALPHA else "no mean effect shown"
    correction = f", {p_text(one.adjusted)} after correction for {found.overall_family} methods"
    correction = correction if found.overall_family > 1 else ""
    said = [
        f"{who}: {verdict}, {interval}, p {p_text(one.effect.p_value)}{correction}; {word} in {wins} of {len(cells)} "
        f"cells; {_differs(one)} The interval holds for these cells: its error comes from seeds alone."
    ]
    if one.over_data_sets is not None:
        said.append(
            f"{who}: for further data sets like these {shown(one.over_data_sets, found)}, "
            f"a t interval over {_sets(len(one.data_sets))}, whose backbones and protocols are averaged first."
        )
    else:
        said.append(f"{who}: nothing can be told about further data sets from {_sets(len(one.data_sets))}.")
    if one.summaries is None:
        said.append(f"{who}: fewer than {FEWEST_CELLS} cells, so no interquartile mean and no profile.")
    else:
        sums = one.summaries
        sign = "" if found.metric.direction >= 0 else " (sign turned: above 0 is better)"
        middle = f"{number(sums.interquartile_mean, found, signed=True)}{found.metric.unit}"
        chance = f"{sums.improvement:.0%}"
        note = f"fewer than {FEWEST_RESAMPLED} cells, so without intervals"
        if sums.resampled is not None:
            middle = shown(sums.resampled.interquartile_mean, found)
            ends = sums.resampled.improvement
            chance += f" [{ends.low:.0%}, {ends.high:.0%}]"
            drawn = f"{sums.resampled.resamples} resamples, seed {sums.resampled.seed}"
            note = f"bootstrap over cells, then seeds: {drawn}"
        said.append(
            f"{who}: interquartile mean {middle}{sign}; a run of {one.method} is {word} than one of {found.base} with "
            f"probability {chance} ({note})."
        )
    if one.left_out:
        said.append(f"{who}: not in the mean, since nothing can be told there: {', '.join(one.left_out)}.")
    return said


def _differs(one: Overall) -> str:
    if one.differs is None:
        return ""
    if one.differs < ALPHA:
        return f"the effect differs between cells (p {p_text(one.differs)}), so the mean stands for none of them."
    return f"no sign that it differs between cells (p {p_text(one.differs)})."


def _ranks(found: HeadToHead) -> list[str]:
    ranking = found.ranking
    if ranking is None:
        return []
    listed = ", ".join(
        f"{name} {rank:.2f}" for name, rank in sorted(ranking.mean_ranks.items(), key=lambda item: item[1])
    )
    text = f"Mean rank over {_sets(ranking.data_sets)} (1 is best): {listed}."
    if ranking.left_out:
        text += f" Not ranked, since runs are missing: {', '.join(ranking.left_out)}."
    if ranking.critical is None or ranking.friedman is None:
        few = f"{_sets(ranking.data_sets)} are fewer than {FEWEST_DATA_SETS} independent ones"
        why = few if ranking.data_sets < FEWEST_DATA_SETS else "two methods need none"
        return [f"{text} No critical-difference diagram: {why}."]
    friedman = f"Friedman's test p {p_text(ranking.friedman)}"
    if ranking.friedman >= ALPHA:
        return [f"{text} {friedman}: no difference between the methods' ranks is shown."]
    return [
        f"{text} {friedman}; mean ranks that differ by {ranking.critical:.2f} or more do so significantly (Nemenyi)."
    ]


def _limits(found: HeadToHead) -> str:
    several = f"; {found.family} tests are corrected for by Holm, those of methods not shown here too"
    return (
        f"Intervals are {LEVEL:.0%} each, not corrected{several if found.family > 1 else ''}. All methods share the "
        "test images, and further images would differ. Nothing follows for other data, networks, training lengths or "
        "hyper-parameters."
    )


def _pairing(correlation: float | None) -> str:
    if correlation is None:
        return "correlation between methods under one seed: not measurable, so nothing is gained by pairing."
    if correlation <= 0:
        return f"correlation between methods under one seed {fixed(correlation, 2)}: pairing gains nothing."
    gain = 1 - (1 - min(correlation, 1.0)) ** 0.5
    return (
        f"correlation between methods under one seed {fixed(correlation, 2)}: pairing narrows intervals by {gain:.0%}."
    )


def _seeds(count: int) -> str:
    return f"{count} seed" + ("" if count == 1 else "s")


def _sets(count: int) -> str:
    return f"{count} data set" + ("" if count == 1 else "s")
