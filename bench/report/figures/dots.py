"""Accuracy of every method with its interval, and beside it the difference to the reference."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.figures.style import (
    FAINT_COLOUR,
    METHOD_COLOUR,
    REFERENCE_COLOUR,
    clipped_share,
    grid,
    label_of,
    new_figure,
    number_of,
    reach_of,
    seeds_of,
    two_lines,
)
from bench.report.rows import IS_BASE
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_figure(rows: list[Record], title: str, reference: str) -> Figure:
    """Dots with 95 % intervals, one line a method in table order. rows: one cell of the accuracy table."""
    figure = new_figure(9.0, 1.7 + 0.33 * max(3, len(rows)))
    base = next((row for row in rows if row[IS_BASE] and row["top1"] is not None), None)
    compared = base is not None and any(row["difference"] is not None for row in rows)
    left: Axes = figure.add_subplot(1, 2 if compared else 1, 1)
    _dots(left, rows, "top1", number_of(base, "top1") if base else None)
    left.set_xlabel("test top-1 after the last epoch, %")
    left.set_yticks(range(len(rows)), [label_of(row) for row in rows])
    if compared:
        right = figure.add_subplot(1, 2, 2, sharey=left)
        _dots(right, rows, "difference", 0.0)
        right.set_xlabel(f"difference to {reference}, seeds paired, points")
        right.tick_params(labelleft=False)
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.set_xlim(*clipped_share(left.get_xlim()))
    shown = "mean and 95 % interval" if any(row["top1_low"] is not None for row in rows) else "mean without interval"
    figure.suptitle(two_lines(f"Accuracy, {shown}, {seeds_of(rows)}", title), fontsize=10.5)
    return figure


def _dots(axes: Axes, rows: list[Record], name: str, line: float | None) -> None:
    grid(axes, "x")
    if line is not None:
        axes.axvline(line, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=(0, (4, 3)))
    for place, row in enumerate(rows):
        value = number_of(row, name)
        is_line = bool(row[IS_BASE]) and name == "difference"
        if value is None:
            if not is_line:
                axes.text(
                    0.5, place, "not measured", ha="center", va="center", color=FAINT_COLOUR, fontsize=8.5,
                    transform=axes.get_yaxis_transform(), backgroundcolor="white",
                )  # fmt: skip
            continue
        low, high = reach_of(row, name)
        colour = REFERENCE_COLOUR if row[IS_BASE] else METHOD_COLOUR
        axes.errorbar(value, place, xerr=[[low], [high]], fmt="o", color=colour, markersize=5, capsize=3, linewidth=1.4)
    axes.margins(x=0.08)
