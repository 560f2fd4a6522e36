"""The interactive charts of one cell, as plain data: what is drawn, not how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from bench.page.boards import heading_text, number_text
from bench.page.part import row_key
from bench.report import Tables
from bench.report.rows import COUNT_COLUMNS, ID_COLUMNS, IS_BASE, LABEL_COLUMNS
from bench.report.table import Column, Record, Table, shortened

_SIZED = re.compile(r"(?:(.+)_)?(autoattack|apgd_ce|apgd|pgd20|fgsm|random_noise)_(linf|l2)_([0-9.e+-]+)")
_LEGACY = re.compile(r"(?:(.+)_)?(fgsm)_([0-9.]+)")
_NO_MEASURES = {column.name for column in (*LABEL_COLUMNS, *COUNT_COLUMNS, *ID_COLUMNS)} | {"top1"}
_SEVERITIES = range(1, 6)
_NORMS = {"linf": "size of the attack, 1/255", "l2": "size of the attack, Euclidean length"}


def cell_charts(place: int, tables: Tables, cell: str) -> list[dict[str, Any]]:
    """The charts of a cell for which anything was measured.

    A chart has `id`, `title`, `about` (what it shows, in words) and `choices`; a choice has `label`, the axis titles
    `x` and `y`, `identity` (whether a diagonal is drawn) and `traces`; a trace has `key`, `name`, `base`, `mode`
    ("markers" or "lines"), `x`, `y`, their intervals `x_low` ... `y_high` or None, and `hover`. Every text is
    escaped for Plotly, which reads some HTML in it.
    """
    accuracy, board = _rows(tables.leaderboard, cell), tables.leaderboard
    made = [
        _chart(
            "accuracy-time", "Accuracy against step time",
            "A point a method: test top-1 over the time of a training step relative to the reference's.",
            [_points(place, board, accuracy, "ratio", "top1")],
        ),
        _chart(
            "clean-robust", "Robustness against clean accuracy",
            "A point a method: a robustness number over test top-1 on clean images.",
            [_points(place, tables.robustness, _rows(tables.robustness, cell), "top1", name)
             for name in _measures(tables.robustness)],
        ),
        _chart(
            "severity", "Accuracy over severity",
            "A line a method: top-1 at the five severities of one corruption.",
            _severities(place, tables.detail("robustness-severities"), cell),
        ),
        _chart(
            "attack-size", "Accuracy over attack size",
            "A line a method: top-1 under an attack of growing size. Mixers are regularisers, not defences.",
            _attacks(place, tables, cell),
        ),
        _chart(
            "reliability", "Reliability",
            "A line a method: accuracy of the images of each confidence; on the diagonal a network is calibrated.",
            _reliability(place, tables.detail("robustness-reliability"), cell),
        ),
    ]  # fmt: skip
    return [chart for chart in made if chart["choices"]]


def _chart(name: str, title: str, about: str, choices: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    kept = [choice for choice in choices if choice is not None and choice["traces"]]
    return {"id": name, "title": title, "about": about, "choices": kept}


def _points(place: int, table: Table, rows: Sequence[Record], across: str, up: str) -> dict[str, Any] | None:
    columns = {column.name: column for column in table.columns}
    if across not in columns or up not in columns:
        return None
    x, y = columns[across], columns[up]
    traces: list[dict[str, Any]] = []
    timed = across == "ratio" and any(row[across] is not None for row in rows)
    for row in rows:
        horizontal = 1.0 if timed and row[IS_BASE] else row[across]
        if horizontal is None or row[up] is None:
            continue
        hover = f"{_name(row)}<br>{_told(row, x)}<br>{_told(row, y)}"
        trace = _trace(place, row, "markers", [horizontal], [row[up]], [hover])
        for axis, name in (("x", across), ("y", up)):
            if row.get(f"{name}_low") is not None:
                trace |= {f"{axis}_low": [row[f"{name}_low"]], f"{axis}_high": [row[f"{name}_high"]]}
        traces.append(trace)
    return _choice(heading_text(y), heading_text(x), heading_text(y), traces)


def _severities(place: int, table: Table | None, cell: str) -> list[dict[str, Any]]:
    rows = _rows(table, cell)
    names = list(dict.fromkeys((str(row["evaluator"]), str(row["corruption"])) for row in rows))
    several = len({evaluator for evaluator, _ in names}) > 1
    choices: list[dict[str, Any]] = []
    for evaluator, corruption in names:
        traces = [
            _curve(place, row, [(float(one), f"severity_{one}") for one in _SEVERITIES], "severity", interval=True)
            for row in rows
            if (row["evaluator"], row["corruption"]) == (evaluator, corruption)
        ]
        label = corruption.replace("_", " ")
        label = f"{evaluator}: {label}" if several else label
        choices.append(_choice(label, "severity", "top-1, %", [one for one in traces if len(one["x"]) > 1]))
    return choices


def _attacks(place: int, tables: Tables, cell: str) -> list[dict[str, Any]]:
    sized: dict[tuple[str, str], list[tuple[float, str]]] = {}
    table = tables.detail("robustness-adversarial") or tables.robustness
    for column in table.columns:
        if column.detail:
            continue
        if match := _SIZED.fullmatch(column.name):
            label = " ".join(filter(None, (match[1], match[2].replace("_", " "))))
            sized.setdefault((label, match[3]), []).append((float(match[4]), column.name))
        elif match := _LEGACY.fullmatch(column.name):
            label = " ".join(filter(None, (match[1], f"{match[2]} (legacy)")))
            sized.setdefault((label, "linf"), []).append((float(match[3]), column.name))
    choices: list[dict[str, Any]] = []
    for (label, norm), found in sized.items():
        curves = [_curve(place, row, sorted(found), "size", interval=True) for row in _rows(table, cell)]
        title = f"{label}, {'L-inf' if norm == 'linf' else 'L2'}"
        choices.append(_choice(title, _NORMS[norm], "top-1, %", [one for one in curves if len(one["x"]) > 1]))
    return choices


def _reliability(place: int, table: Table | None, cell: str) -> list[dict[str, Any]]:
    rows = _rows(table, cell)
    choices: list[dict[str, Any]] = []
    for evaluator in dict.fromkeys(str(row["evaluator"]) for row in rows):
        for ending, label in (("", "before temperature scaling"), ("_scaled", "after temperature scaling")):
            arms: dict[str, list[Record]] = {}
            for row in rows:
                if row["evaluator"] == evaluator and row[f"accuracy{ending}"] is not None:
                    arms.setdefault(str(row["arm"]), []).append(row)
            traces = [_bins(place, bins, ending) for bins in arms.values()]
            choices.append(_choice(f"{evaluator}: {label}", "confidence, %", "accuracy, %", traces, identity=True))
    return choices


def _bins(place: int, bins: list[Record], ending: str) -> dict[str, Any]:
    hover = [
        f"{_name(row)}<br>confidence {_short(row[f'confidence{ending}'])} %, "
        f"accuracy {_short(row[f'accuracy{ending}'])} %<br>{_short(row[f'share{ending}'])} % of the images"
        for row in bins
    ]
    x, y = [row[f"confidence{ending}"] for row in bins], [row[f"accuracy{ending}"] for row in bins]
    return _trace(place, bins[0], "lines", x, y, hover)


def _curve(place: int, row: Record, points: Sequence[tuple[float, str]], word: str, interval: bool) -> dict[str, Any]:
    known = [(at, name) for at, name in points if row.get(name) is not None]
    hover = [f"{_name(row)}<br>{word} {at:g}: {_short(row[name])} %{_reach(row, name)}" for at, name in known]
    trace = _trace(place, row, "lines", [at for at, _ in known], [row[name] for _, name in known], hover)
    if interval and known and all(row.get(f"{name}_low") is not None for _, name in known):
        trace["y_low"] = [row[f"{name}_low"] for _, name in known]
        trace["y_high"] = [row[f"{name}_high"] for _, name in known]
    return trace


def _trace(place: int, row: Record, mode: str, x: list[Any], y: list[Any], hover: list[str]) -> dict[str, Any]:
    key = row_key(place, str(row["arm"]))
    name = _escaped(shortened(str(row["method"])))
    return {"key": key, "name": name, "base": bool(row[IS_BASE]), "mode": mode, "x": x, "y": y, "hover": hover}


def _choice(label: str, x: str, y: str, traces: list[dict[str, Any]], identity: bool = False) -> dict[str, Any]:
    return {"label": label, "x": _escaped(x), "y": _escaped(y), "traces": traces, "identity": identity}


def _measures(table: Table) -> list[str]:
    """Columns of the summary that hold a number with an interval, the means first."""
    found = [
        column.name
        for column in table.columns
        if not column.detail and column.name not in _NO_MEASURES
        and (column.decimals is not None or column.digits is not None)
    ]  # fmt: skip
    return sorted(found, key=lambda name: not name.endswith("_mean"))


def _rows(table: Table | None, cell: str) -> list[Record]:
    return [] if table is None else [row for row in table.rows if row["cell"] == cell]


def _name(row: Record) -> str:
    return _escaped(str(row["method"]))


def _escaped(text: str) -> str:
    """Text for Plotly, which decodes entities for angle brackets and ampersands and no others."""
    return escape(text, quote=False)


def _told(row: Record, column: Column) -> str:
    value = number_text(row[column.name], column) or "reference"
    return f"{_escaped(heading_text(column))}: {value}{_reach(row, column.name, column)}"


def _reach(row: Record, name: str, column: Column | None = None) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None:
        return ""
    texts = [_short(one) if column is None else number_text(one, column) for one in (low, high)]
    return f" [{texts[0]} to {texts[1]}]"


def _short(value: Any) -> str:
    return "" if value is None else f"{float(value):.1f}"
