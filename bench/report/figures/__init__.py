"""The figures of a study, drawn from its tables. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import re
from pathlib import Path

from bench.report.build import Tables
from bench.report.figures.dots import accuracy_figure
from bench.report.figures.scatter import Axis, scatter_figure
from bench.report.figures.style import figure_style, save

CLEAN = Axis("top1", "test top-1 after the last epoch, %")
CORRUPTED = Axis("corruption_mean", "mean top-1 on corrupted test images, %")


def write_figures(tables: Tables, folder: Path) -> list[Path]:
    """Draw accuracy, robustness against clean accuracy, and accuracy against step time for every cell.

    Each as PNG and SVG; returns the paths. A figure for which nothing was measured is left out. Files are called
    accuracy, robustness and step-time, followed by the cell's labels where there are several cells.
    """
    paths: list[Path] = []
    accuracy, leaderboard = tables.accuracy.blocks(), dict(tables.leaderboard.blocks())
    reference = tables.study.reference
    time = Axis("ratio", f"step time relative to {reference}", share=False)
    with figure_style():
        for title, rows in accuracy:
            ending = "" if len(accuracy) == 1 else "-" + re.sub(r"[^A-Za-z0-9._-]+", "-", title)
            joined = leaderboard[title]
            if any(row["top1"] is not None for row in rows):
                paths += save(accuracy_figure(rows, title, reference), folder, f"accuracy{ending}")
            robust = scatter_figure(joined, CLEAN, CORRUPTED, "Robustness against clean accuracy", title)
            if robust is not None:
                paths += save(robust, folder, f"robustness{ending}")
            cost = scatter_figure(joined, time, CLEAN, "Accuracy against step time", title)
            if cost is not None:
                paths += save(cost, folder, f"step-time{ending}")
    return paths
