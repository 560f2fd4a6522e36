"""The figures of a study, drawn from its tables. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report.build import Tables
from bench.report.figures.dots import accuracy_figure
from bench.report.figures.heatmap import corruption_heatmap
from bench.report.figures.reliability import reliability_figure
from bench.report.figures.scatter import Axis, scatter_figure
from bench.report.figures.severities import severity_figure
from bench.report.figures.strengths import strength_figure
from bench.report.figures.style import figure_style, save
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = Axis("top1", "test top-1 after the last epoch, %")
CORRUPTED = Axis("corruption_mean", "mean top-1 on corrupted test images, %")
_ATTACKED = ("autoattack_linf_1", "apgd_linf_1", "apgd_linf_0.5", "apgd_linf_2")
"""Columns of the summary that clean accuracy is held against, the first that was measured."""


def write_figures(tables: Tables, folder: Path) -> list[Path]:
    """Draw every figure for every cell, each as PNG and SVG; returns the paths.

    accuracy; robustness (corrupted against clean accuracy), attacks (attacked against clean accuracy), step-time;
    corruptions (heat map), severities, attack-sizes, reliability. A figure for which nothing was measured is left
    out. Names end in the cell's labels where there are several cells, and in the evaluator's where there are several.
    """
    paths: list[Path] = []
    cells = tables.accuracy.blocks()
    with figure_style():
        for title, rows in cells:
            ending = "" if len(cells) == 1 else _safe(title)
            for name, figure in [*_main(tables, title, rows), *_details(tables, title, rows)]:
                if figure is not None:
                    paths += save(figure, folder, f"{name}{ending}")
    return paths


def _main(tables: Tables, title: str, rows: list[Record]) -> Iterator[tuple[str, Figure | None]]:
    reference = tables.study.reference
    joined = dict(tables.leaderboard.blocks())[title]
    summary = dict(tables.robustness.blocks())[title]
    time = Axis("ratio", f"step time relative to {reference}", share=False)
    if any(row["top1"] is not None for row in rows):
        yield "accuracy", accuracy_figure(rows, title, reference)
    yield "robustness", scatter_figure(joined, CLEAN, CORRUPTED, "Robustness against clean accuracy", title)
    attacked = next((name for name in _ATTACKED if any(row.get(name) is not None for row in summary)), None)
    if attacked is not None:
        attack, _, size = attacked.partition("_linf_")
        up = Axis(attacked, f"top-1 under {attack} at {size}/255, %")
        yield "attacks", scatter_figure(summary, CLEAN, up, "Accuracy under attack against clean accuracy", title)
    yield "step-time", scatter_figure(joined, time, CLEAN, "Accuracy against step time", title)


def _details(tables: Tables, title: str, methods: list[Record]) -> Iterator[tuple[str, Figure | None]]:
    blocks = {table.name: dict(table.blocks()).get(title, []) for table in tables.details}
    severities = blocks.get("robustness-severities", [])
    evaluators = sorted({str(row["evaluator"]) for row in _all(tables, "robustness-severities")})
    for evaluator in evaluators:
        ending = "" if len(evaluators) == 1 else f"-{evaluator}"
        own = [row for row in severities if row["evaluator"] == evaluator]
        corruptions = list(dict.fromkeys(str(row["corruption"]) for row in own))
        rows, label = blocks["robustness-corruptions"], "corruption" if len(evaluators) == 1 else evaluator
        heatmap = corruption_heatmap(rows, label, corruptions, title, tables.study.reference)
        yield f"corruptions{ending}", heatmap
        yield f"severities{ending}", severity_figure(methods, own, title)
    yield "attack-sizes", strength_figure(blocks.get("robustness-adversarial", []), title)
    bins = blocks.get("robustness-reliability", [])
    evaluators = sorted({str(row["evaluator"]) for row in bins})
    for evaluator in evaluators:
        ending = "" if len(evaluators) == 1 else f"-{evaluator}"
        own = [row for row in bins if row["evaluator"] == evaluator]
        yield f"reliability{ending}", reliability_figure(own, title)


def _all(tables: Tables, name: str) -> list[Record]:
    table = tables.detail(name)
    return table.rows if table is not None else []


def _safe(title: str) -> str:
    return "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", title)
