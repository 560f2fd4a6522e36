"""Methods against a base, cell by cell and over all cells: a pure function of the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.errors import BadInput, nearest
from bench.report.compared_metrics import ComparedMetric, find_metric
from bench.report.measurements import by_seed
from bench.report.readings import Readings
from bench.report.rows import ordered_rows
from bench.report.study import Cell, Row, Study
from bench.stats import (
    FEWEST_CELLS,
    FEWEST_DATA_SETS,
    SEED,
    Estimate,
    Interval,
    Spread,
    Summaries,
    cell_difference,
    critical_difference,
    friedman_probability,
    heterogeneity_probability,
    holm,
    mean,
    mean_effect,
    mean_interval,
    mean_ranks,
    pairs_of,
    profile_thresholds,
    spreads,
    summaries,
)

ALL = "all"
FEWEST_RANKED = 3
"""With two methods ranks say no more than a sign test."""
FEWEST_SAMPLED = 3
"""So many data sets are needed before an interval over data sets is told."""

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""By cell id, arm and seed."""


@dataclass(frozen=True)
class CellTest:
    """One method against the base in one cell. Numbers are before scaling; direction is not applied.

    estimate: None where no difference or no seed variance can be told; gap is then the plain difference of means over
    common seeds, if any. adjusted: p value after Holm over the family.
    """

    cell: Cell
    row: Row
    seeds: int
    base_seeds: int
    spread: Spread
    estimate: Estimate | None
    gap: float | None
    adjusted: float | None


@dataclass(frozen=True)
class Overall:
    """One method over the cells in which it can be compared.

    effect: mean over cells, its error from seeds alone. adjusted: its p value after Holm over methods. differs: p value
    that the true differences of the cells are equal. data_sets: by data set the mean difference, its cells averaged.
    over_data_sets: t interval over those, None for fewer than 3. relative: mean over cells of the share of the base's
    error that is gone, for shares of which more is better. summaries: with the sign turned so that above 0 is better.
    """

    method: str
    tests: list[CellTest]
    left_out: list[str]
    effect: Estimate | None
    adjusted: float | None
    differs: float | None
    data_sets: dict[str, float]
    over_data_sets: Interval | None
    relative: float | None
    summaries: Summaries | None


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over data sets, cells of one data set averaged first.

    critical: Nemenyi's critical difference, None with too few data sets or methods. left_out: methods that lack a cell.
    """

    mean_ranks: dict[str, float]
    data_sets: int
    left_out: list[str]
    friedman: float | None
    critical: float | None


@dataclass(frozen=True)
class HeadToHead:
    """Everything that is told. tests: of the methods asked for, cell by cell. family: how many tests Holm corrected
    for, those of methods not asked for included. overall_family: the same for the means over cells.
    """

    study: Study
    metric: ComparedMetric
    base: str
    methods: list[str]
    tests: list[CellTest]
    family: int
    overall: list[Overall]
    overall_family: int
    ranking: Ranking | None
    missing: list[str]


def head_to_head(study: Study, method: str, metric: str = "top1", seed: int = SEED) -> HeadToHead:
    """Compare with the study's reference. method: a row's name or label, or "all". seed: of the resampling.

    BadInput for a metric, method or base that no cell has.
    """
    names = _methods(study)
    _require_base(study)
    chosen = _chosen(study, method, names)
    found = find_metric(metric, Readings(study.cells))
    values = {
        cell.id: {row.arm: by_seed(row.ok, found.value) for row in cell.rows} for cell in study.cells if cell.base
    }
    tests = _tests(study, values, found.direction)
    overall = [_overall(name, [test for test in tests if test.row.name == name], values, found, seed) for name in names]
    adjusted = holm({one.method: one.effect.p_value for one in overall if one.effect is not None and _several(one)})
    overall = [replace(one, adjusted=adjusted.get(one.method)) for one in overall]
    return HeadToHead(
        study, found, study.reference, chosen,
        [test for test in tests if test.row.name in chosen],
        sum(test.estimate is not None for test in tests),
        [one for one in overall if one.method in chosen],
        len(adjusted),
        _ranking(study, values, found),
        _missing(study, values, found),
    )  # fmt: skip


def _several(one: Overall) -> bool:
    return sum(test.estimate is not None for test in one.tests) > 1


def _methods(study: Study) -> list[str]:
    return list(dict.fromkeys(row.name for cell in study.cells for row in cell.rows if row is not cell.base))


def _require_base(study: Study) -> None:
    if any(cell.base is not None for cell in study.cells):
        return
    known = {name for cell in study.cells for row in cell.rows for name in (row.labels.method, row.implementation)}
    if not known:
        raise BadInput("there are no runs to compare")
    raise BadInput(f"--against: no run of '{study.reference}'; {nearest(study.reference, known)}")


def _chosen(study: Study, method: str, names: Sequence[str]) -> list[str]:
    if method == ALL:
        if not names:
            raise BadInput(f"there is no method to compare with '{study.reference}'")
        return list(names)
    rows = [row for cell in study.cells for row in cell.rows if row is not cell.base]
    found = list(dict.fromkeys(row.name for row in rows if method in (row.name, row.labels.method)))
    if not found:
        if any(cell.base and method in (cell.base.name, cell.base.labels.method) for cell in study.cells):
            raise BadInput(f"METHOD and --against are both '{method}'; {nearest('', names)}")
        raise BadInput(f"METHOD: no run of '{method}'; {nearest(method, [*names, ALL])}")
    return found


def _tests(study: Study, values: Values, direction: int) -> list[CellTest]:
    by_data: dict[str, list[Cell]] = {}
    for cell in study.cells:
        if cell.base is not None:
            by_data.setdefault(cell.data, []).append(cell)
    found: dict[str, Spread] = {}
    for cells in by_data.values():
        found |= spreads({cell.id: _by_name(cell, values[cell.id], study.reference) for cell in cells}, study.reference)
    tests = [
        _test(cell, row, _by_name(cell, values[cell.id], study.reference), study.reference, found[cell.id])
        for cell in study.cells
        if cell.base is not None
        for row in _rows(study, cell, values[cell.id], direction)
        if row is not cell.base
    ]
    adjusted = holm({place: test.estimate.p_value for place, test in enumerate(tests) if test.estimate is not None})
    return [replace(test, adjusted=adjusted.get(place)) for place, test in enumerate(tests)]


def _rows(study: Study, cell: Cell, values: Mapping[str, Mapping[int, float]], direction: int) -> list[Row]:
    """As in the tables: as planned, or without a plan the best first."""
    sign = direction or 1
    return ordered_rows(study, cell, {arm: sign * mean(list(own.values())) for arm, own in values.items() if own})


def _by_name(cell: Cell, values: Mapping[str, Mapping[int, float]], reference: str) -> dict[str, Mapping[int, float]]:
    """Values by the names that methods have in all cells; the base is called as it was asked for."""
    return {_name(cell, row, reference): values[row.arm] for row in cell.rows}


def _name(cell: Cell, row: Row, reference: str) -> str:
    return reference if row is cell.base else row.name


def _test(cell: Cell, row: Row, values: Mapping[str, Mapping[int, float]], reference: str, spread: Spread) -> CellTest:
    own, base = values[row.name], values[reference]
    pairs = pairs_of(own, base)
    gap = mean([one - other for one, other in pairs]) if pairs else None
    estimate = cell_difference(row.name, values, reference, spread)
    return CellTest(cell, row, len(own), len(base), spread, estimate, gap, None)


def _overall(method: str, tests: list[CellTest], values: Values, metric: ComparedMetric, seed: int) -> Overall:
    known = [(test, test.estimate) for test in tests if test.estimate is not None]
    estimates = [estimate for _, estimate in known]
    by_data: dict[str, list[float]] = {}
    for test, estimate in known:
        by_data.setdefault(test.cell.data, []).append(estimate.value)
    data_sets = {name: mean(found) for name, found in by_data.items()}
    sampled = mean_interval(list(data_sets.values())) if len(data_sets) >= FEWEST_SAMPLED else None
    return Overall(
        method, tests, [test.cell.title for test in tests if test.estimate is None], mean_effect(estimates), None,
        heterogeneity_probability(estimates), data_sets, sampled, _relative(known, values, metric),
        _summaries(tests, values, metric, seed),
    )  # fmt: skip


def _relative(known: Sequence[tuple[CellTest, Estimate]], values: Values, metric: ComparedMetric) -> float | None:
    """Mean over cells of difference / (1 - base); None for other metrics and where a base makes no error."""
    if metric.direction != 1 or metric.scale != 100:
        return None
    shares: list[float] = []
    for test, estimate in known:
        error = 1 - mean(list(_base_values(test.cell, values).values()))
        if error <= 0:
            return None
        shares.append(estimate.value / error)
    return mean(shares) if shares else None


def _base_values(cell: Cell, values: Values) -> Mapping[int, float]:
    return values[cell.id][cell.base.arm] if cell.base is not None else {}


def _summaries(tests: Sequence[CellTest], values: Values, metric: ComparedMetric, seed: int) -> Summaries | None:
    sign = metric.direction or 1
    cells = [pairs_of(values[test.cell.id][test.row.arm], _base_values(test.cell, values)) for test in tests]
    signed = [[(sign * own, sign * base) for own, base in pairs] for pairs in cells if pairs]
    if len(signed) < FEWEST_CELLS:
        return None
    return summaries(signed, profile_thresholds(signed), seed)


def _ranking(study: Study, values: Values, metric: ComparedMetric) -> Ranking | None:
    cells = [cell for cell in study.cells if cell.id in values]
    means = [
        {
            _name(cell, row, study.reference): mean(list(values[cell.id][row.arm].values()))
            for row in cell.rows
            if values[cell.id][row.arm]
        }
        for cell in cells
    ]
    everyone = list(dict.fromkeys(name for one in means for name in one))
    complete = [name for name in everyone if all(name in one for one in means)]
    by_data: dict[str, list[dict[str, float]]] = {}
    for cell, one in zip(cells, means, strict=True):
        by_data.setdefault(cell.data, []).append(one)
    if metric.direction == 0 or len(by_data) < 2 or len(complete) < 2:
        return None
    scores = [
        {name: metric.direction * mean([one[name] for one in found]) for name in complete} for found in by_data.values()
    ]
    enough = len(scores) >= FEWEST_DATA_SETS and len(complete) >= FEWEST_RANKED
    return Ranking(
        mean_ranks(scores), len(scores), [name for name in everyone if name not in complete],
        friedman_probability(scores) if enough else None,
        critical_difference(len(complete), len(scores)) if enough else None,
    )  # fmt: skip


def _missing(study: Study, values: Values, metric: ComparedMetric) -> list[str]:
    """Planned runs that a comparison would have used and did not: by cell and method the seeds, and why."""
    found: list[str] = []
    for cell in study.cells:
        if cell.base is None:
            found.append(f"{cell.title}: no run of {study.reference}, so nothing is compared")
            continue
        alike: dict[str, list[str]] = {}
        for row in _rows(study, cell, values[cell.id], metric.direction):
            seeds: dict[str, list[int]] = {}
            for seed, run in sorted(row.runs.items()):
                if run is None or run.status != "ok":
                    seeds.setdefault("missing" if run is None else run.status, []).append(seed)
                elif seed not in values[cell.id][row.arm]:
                    seeds.setdefault(f"without {metric.name}", []).append(seed)
            for why, these in seeds.items():
                which = f"seed{'s' if len(these) > 1 else ''} {', '.join(map(str, these))} {why}"
                alike.setdefault(which, []).append(row.name)
        found += [
            f"{cell.title}: {', '.join(names)}{':' if len(names) > 1 else ''} {which}" for which, names in alike.items()
        ]
    return found
