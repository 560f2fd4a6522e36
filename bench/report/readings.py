"""All numbers that evaluators recorded for a study's runs, each told apart by arm, metric and detail."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from bench.records import RunRecord
from bench.records.evaluation_summary import EvaluationSummary
from bench.report.measurements import inside, number
from bench.report.study import Cell

Detail = tuple[tuple[str, str | float | bool | None], ...]
"""A metric line's detail, sorted by key."""


class Series(NamedTuple):
    """One number that runs may have: which evaluator arm recorded it, under which name and with which detail."""

    arm: str
    metric: str
    detail: Detail

    def of(self, key: str) -> str | float | bool | None:
        """The detail's value of this key; None where it has none."""
        return dict(self.detail).get(key)

    def text(self, key: str) -> str:
        """The same as the text that column names hold."""
        return value_text(self.of(key))

    @property
    def keys(self) -> set[str]:
        """The keys of the detail."""
        return {key for key, _ in self.detail}


Places = dict[Series, int]
_NOTHING: tuple[Places, list[Any]] = {}, []


@dataclass(frozen=True)
class Source:
    """An evaluator arm with the one set of settings that is shown.

    digest: of evaluator and settings, and of its source. others: runs evaluated with other settings or other source.
    """

    arm: str
    digest: str
    title: str
    settings: dict[str, Any]
    others: int


class Readings:
    """What the ok runs of some cells recorded, one set of settings for each evaluator arm.

    Where runs of one arm were evaluated with different settings or by different source code, those of most runs are
    shown, and the others count as not measured: numbers of different settings or code never stand in one column.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.sources: dict[str, Source] = {}
        self._values: dict[str, dict[str, tuple[Places, list[Any]]]] = {}
        self._series: dict[str, set[Series]] = {}
        self._measured: dict[Series, bool] = {}
        self._known: dict[tuple[str, int], tuple[list[dict[str, Any]], Places]] = {}
        runs = {run.run_id: run for cell in cells for row in cell.rows for run in row.ok.values()}
        by_arm: dict[str, dict[str, list[RunRecord]]] = {}
        for _, run in sorted(runs.items()):
            for arm in run.evaluated.names:
                found = run.evaluation_summary(arm)
                if found is not None and found.values:
                    by_arm.setdefault(arm, {}).setdefault(_digest(found), []).append(run)
        for arm, digests in sorted(by_arm.items()):
            digest, shown = max(digests.items(), key=lambda item: (len(item[1]), item[0]))
            begin = _summary(shown[0], arm).begin
            others = sum(len(found) for found in digests.values()) - len(shown)
            settings = inside(begin, "settings")
            self.sources[arm] = Source(arm, digest, str(begin.get("title") or arm), settings, others)
            for run in shown:
                found = _summary(run, arm)
                self._values.setdefault(run.run_id, {})[arm] = self._places(arm, found), found.values

    def _places(self, arm: str, found: EvaluationSummary) -> Places:
        """Where an evaluation's numbers stand, by series; runs that were evaluated alike share it."""
        key = (arm, id(found.measures))
        if key not in self._known:
            own = [Series(arm, str(line.get("name")), _detail(inside(line, "detail"))) for line in found.measures]
            for series in own:
                self._series.setdefault(series.metric, set()).add(series)
            self._known[key] = found.measures, {series: place for place, series in enumerate(own)}
        return self._known[key][1]

    def series(self, metric: str, *keys: str) -> list[Series]:
        """All series of a metric that any run recorded and whose detail has exactly these keys.

        Ordered by arm, then by detail with numbers as numbers. Without `keys` the detail may be anything.
        """
        found = [series for series in self._series.get(metric, ()) if not keys or series.keys == set(keys)]
        return sorted(found, key=_place)

    def bare(self, metric: str) -> list[Series]:
        """The series of a metric without any detail, one an arm."""
        return [series for series in self.series(metric) if not series.detail]

    def value(self, run: RunRecord, series: Series) -> float | None:
        """A run's number; None where it has none."""
        places, values = self._values.get(run.run_id, {}).get(series.arm, _NOTHING)
        place = places.get(series)
        return None if place is None else number(values[place])

    def recorded(self, run: RunRecord, series: Series) -> bool:
        """Whether a run's evaluation got as far as this number, which may be "cannot be measured"."""
        return series in self._values.get(run.run_id, {}).get(series.arm, _NOTHING)[0]

    def measured(self, series: Series) -> bool:
        """Whether any run has a number."""
        if series not in self._measured:
            found = (read[series.arm] for read in self._values.values() if series.arm in read)
            self._measured[series] = any(
                series in places and number(values[places[series]]) is not None for places, values in found
            )
        return self._measured[series]

    def prefix(self, series: Series) -> str:
        """What column names begin with where another arm recorded some of the arm's numbers of this metric."""
        found = self._series[series.metric]
        own = {other.detail for other in found if other.arm == series.arm}
        shared = any(other.arm != series.arm and other.detail in own for other in found)
        return f"{series.arm}_" if shared else ""


def value_text(value: str | float | bool | None) -> str:
    """A detail's value within a column's name."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def ordinal(value: str | float | bool | None) -> tuple[int, float, str]:
    """Numbers before texts, numbers by size."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def _summary(run: RunRecord, arm: str) -> EvaluationSummary:
    return cast("EvaluationSummary", run.evaluation_summary(arm))


def _digest(found: EvaluationSummary) -> str:
    """What decides the numbers: evaluator and settings, and the evaluator's source code."""
    begin = found.begin
    return f"{begin.get('digest')} {begin.get('source_digest')}"


def _detail(plain: dict[str, Any]) -> Detail:
    scalar = cast("dict[str, Any]", {key: value if _is_scalar(value) else str(value) for key, value in plain.items()})
    return tuple(sorted(scalar.items()))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _place(series: Series) -> tuple[str, list[tuple[str, tuple[int, float, str]]]]:
    return series.arm, [(key, ordinal(value)) for key, value in series.detail]
