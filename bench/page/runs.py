"""The single runs behind the numbers of the page."""

from __future__ import annotations

from functools import partial
from typing import Any

from bench.page.part import Part, row_key
from bench.records import RunRecord
from bench.report.compared_metrics import compared_metrics
from bench.report.corruption_sets import corruption_sets
from bench.report.measurements import best_top1, by_seed, clean_metric, diagnostic
from bench.report.readings import Readings
from bench.report.study import Row

_DIGITS = 7
_LEADERBOARD_MEANS = {"corruption_mean": "corruption", "fgsm_mean": "fgsm"}
_ACCURACY = {
    "ece": lambda run: _percent(clean_metric(run, "ece_15")),
    "ece_floor": lambda run: _percent(clean_metric(run, "ece_15_floor")),
    "top5": lambda run: _percent(clean_metric(run, "top5")),
    "nll": lambda run: clean_metric(run, "nll"),
    "best_epoch_selected_on_test": lambda run: _percent(best_top1(run)),
    "alignment_effect_to_first": lambda run: diagnostic(run, "alignment_effect_to_first"),
    "alignment_effect_to_second": lambda run: diagnostic(run, "alignment_effect_to_second"),
}
_DIFFERENCE_OF = {"difference": "top1", "corruption_difference": "corruption_mean"}


def runs_behind(parts: list[Part], shown: set[str], singly: bool = True) -> dict[str, Any]:
    """By row key what the page tells about a row: its runs, their values by column, and how it was timed.

    Each row has `runs` (lists of seed, run id, status, reason), `base` (row key of its reference or None), `values`
    (column to one number or None a run, in the units of the tables) and `timing` (text). shown: columns on the page.
    singly: whether there are any runs and values; without them the page shows none.
    """
    found: dict[str, Any] = {}
    for place, part in enumerate(parts):
        timing = {str(row["arm"]): _timing(row) for row in part.tables.throughput.rows}
        measures = _Measures(part, shown) if singly else None
        for cell in part.tables.study.cells:
            base = row_key(place, cell.base.arm) if cell.base is not None else None
            for row in cell.rows:
                key = row_key(place, row.arm)
                found[key] = {
                    "method": row.name,
                    "runs": [_run(seed, run) for seed, run in sorted(row.runs.items())] if singly else [],
                    "base": base,
                    "values": measures.of(row) if measures is not None else {},
                    "timing": timing.get(row.arm, ""),
                }
    return found


def difference_of(column: str) -> str | None:
    """The column whose single runs stand behind a column of differences; None for other columns."""
    return _DIFFERENCE_OF.get(column)


class _Measures:
    """The numbers of single runs of one part, by column name."""

    def __init__(self, part: Part, shown: set[str]) -> None:
        readings = Readings(part.tables.study.cells)
        self.columns = {
            name: (lambda run, one=one: _scaled(one.value(run), one.scale))
            for name, one in compared_metrics(readings).items()
            if name in shown
        }
        self.columns |= {name: value for name, value in _ACCURACY.items() if name in shown}
        means = [f"{found.label}_mean" for found in corruption_sets(readings)]
        compared = compared_metrics(readings)
        for name, label in _LEADERBOARD_MEANS.items():
            if name in shown and name not in self.columns:
                source = means if label == "corruption" else [one for one in compared if one.endswith("fgsm_mean")]
                candidates = [compared[one] for one in source if one in compared]
                if candidates:
                    self.columns[name] = partial(_first, candidates)

    def of(self, row: Row) -> dict[str, list[float | None]]:
        """Column to values in the order of the seeds; only columns that any of the row's runs has."""
        values: dict[str, list[float | None]] = {}
        for name, value in self.columns.items():
            known = by_seed(row.ok, value)
            if known:
                values[name] = [_rounded(known.get(seed)) for seed in sorted(row.runs)]
        return values


def _run(seed: int, run: RunRecord | None) -> list[Any]:
    if run is None:
        return [seed, "", "missing", ""]
    return [seed, run.run_id, run.status, " ".join((run.reason or "").split())]


def _timing(row: dict[str, Any]) -> str:
    if not row.get("rounds"):
        return ""
    return f"timed in {row['rounds']} rounds on {row['hardware']}, {row['precision']}, torch {row['torch']}"


def _first(candidates: list[Any], run: RunRecord) -> float | None:
    """The number of the first evaluator that has one, as the leaderboard takes it."""
    values = (_scaled(one.value(run), one.scale) for one in candidates)
    return next((value for value in values if value is not None), None)


def _percent(value: float | None) -> float | None:
    return _scaled(value, 100.0)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
