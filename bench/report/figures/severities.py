"""Accuracy over severity, one panel for each family of corruptions."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.report.corruption_sets import EXTRA, FAMILIES, SEVERITIES
from bench.report.figures.curves import legend, legend_height, line, looks, panel
from bench.report.figures.style import clipped_share, new_figure, number_of, seeds_of, two_lines
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 11.0


def severity_figure(methods: list[Record], rows: list[Record], title: str) -> Figure | None:
    """Small multiples over severities 1 to 5; None where fewer than two severities were measured.

    methods: one cell's rows of any table with one row a method, in order. rows: the same cell of the severities table,
    of one evaluator. A family's accuracy is the mean over its corruptions, shown where all of them were measured.
    """
    found = {(str(row["arm"]), str(row["corruption"])): row for row in rows}
    names = {str(row["corruption"]) for row in rows}
    panels = {family: list(members) for family, members in FAMILIES.items() if set(members) <= names}
    if panels and set(EXTRA) <= names:
        panels["extra, in no mean"] = list(EXTRA)
    if not panels:
        panels = {name.replace("_", " "): [name] for name in sorted(names)}
    curves = {
        family: {str(row["arm"]): _curve(found, str(row["arm"]), members) for row in methods}
        for family, members in panels.items()
    }
    shown = [row for row in methods if any(_drawable(lines[str(row["arm"])]) for lines in curves.values())]
    if not shown:
        return None
    columns = min(5, len(panels))
    height = -(-len(panels) // columns)
    figure = new_figure(max(6.0, _WIDTH * columns / 5), 1.1 + 2.6 * height + legend_height(shown, _WIDTH * columns / 5))
    own, drawn = looks(shown), dict[str, Any]()
    first: Axes | None = None
    for place, (family, lines) in enumerate(curves.items()):
        axes: Axes = figure.add_subplot(height, columns, place + 1, sharey=first)
        first = first or axes
        panel(axes, family, "severity", SEVERITIES, [str(severity) for severity in SEVERITIES])
        for row in shown:
            handle = line(axes, SEVERITIES, lines[str(row["arm"])], own[str(row["arm"])])
            if handle is not None:
                drawn.setdefault(str(row["arm"]), handle)
        if place % columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("top-1, %")
    if first is not None:
        first.set_ylim(*clipped_share(first.get_ylim()))
    legend(figure, shown, drawn, {})
    figure.suptitle(two_lines(f"Accuracy over severity of corruptions, {seeds_of(shown)}", title), fontsize=10.5)
    return figure


def _curve(found: dict[tuple[str, str], Record], arm: str, members: Sequence[str]) -> list[float | None]:
    """Mean over the members at each severity; None where one of them was not measured."""
    curve: list[float | None] = []
    for severity in SEVERITIES:
        values = [number_of(found[arm, name], f"severity_{severity}") for name in members if (arm, name) in found]
        known = [value for value in values if value is not None]
        curve.append(sum(known) / len(known) if len(known) == len(members) else None)
    return curve


def _drawable(curve: Sequence[float | None]) -> bool:
    return sum(value is not None for value in curve) > 1
