"""Reliability diagrams: accuracy of the images of each confidence, before and after temperature scaling."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.report.figures.curves import Look, line
from bench.report.figures.style import (
    FAINT_COLOUR,
    METHOD_COLOUR,
    REFERENCE_COLOUR,
    grid,
    label_of,
    new_figure,
    number_of,
    seeds_of,
    two_lines,
)
from bench.report.rows import IS_BASE
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 5
_SCALED_COLOUR = "#D55E00"


def reliability_figure(rows: list[Record], title: str) -> Figure | None:
    """A panel for each method; None where nothing was measured.

    rows: one cell of the reliability table, of one evaluator. Bars at the bottom are the share of the images in each
    bin, on the same axis in %.
    """
    methods = {str(row["arm"]): row for row in rows}
    if not methods:
        return None
    columns = min(_ACROSS, len(methods))
    height = -(-len(methods) // columns)
    figure = new_figure(max(5.0, 2.35 * columns + 0.6), 1.5 + 2.35 * height)
    handles: dict[str, Any] = {}
    for place, (arm, row) in enumerate(methods.items()):
        axes: Axes = figure.add_subplot(height, columns, place + 1)
        _diagram(axes, [one for one in rows if one["arm"] == arm], handles)
        axes.set_title(_broken(label_of(row)), fontsize=8.5, color=REFERENCE_COLOUR if row[IS_BASE] else METHOD_COLOUR)
        if place % columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("accuracy, %")
        if place + columns >= len(methods):
            axes.set_xlabel("confidence, %")
        else:
            axes.tick_params(labelbottom=False)
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=2, frameon=False, fontsize=8.5
    )
    heading = f"Reliability, all runs of a method together, {seeds_of(list(methods.values()))}"
    figure.suptitle(two_lines(heading, title) if columns > 2 else _narrow(heading, title), fontsize=10.5)
    return figure


def _diagram(axes: Axes, bins: list[Record], handles: dict[str, Any]) -> None:
    grid(axes, "both")
    width = 100 / (1 + max(int(row["bin"] or 0) for row in bins))
    shares = [number_of(row, "share") or 0.0 for row in bins]
    centres = [(int(row["bin"] or 0) + 0.5) * width for row in bins]
    bars = axes.bar(centres, shares, width * 0.9, color="#D9D9D9", zorder=1)
    handles.setdefault("share of the images, %", bars)
    [diagonal] = axes.plot([0, 100], [0, 100], color=FAINT_COLOUR, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    handles.setdefault("accuracy = confidence", diagonal)
    kinds = (
        ("", "before temperature scaling", METHOD_COLOUR, "-", "o"),
        ("_scaled", "after it", _SCALED_COLOUR, (0, (4, 1.5)), "s"),
    )
    for ending, name, colour, dashes, mark in kinds:
        known = [row for row in bins if number_of(row, f"confidence{ending}") is not None]
        across = [number_of(row, f"confidence{ending}") or 0.0 for row in known]
        values = [number_of(row, f"accuracy{ending}") for row in known]
        drawn = line(axes, across, values, Look(colour, dashes, mark), markersize=3.0, zorder=3)
        if drawn is not None:
            handles.setdefault(name, drawn)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    axes.set_aspect("equal")


def _broken(name: str) -> str:
    """A long label over as many lines as a panel's width needs."""
    import textwrap

    return "\n".join(textwrap.wrap(name, 24)) or name


def _narrow(heading: str, title: str) -> str:
    import textwrap

    return "\n".join(part for text in (heading, title) for part in textwrap.wrap(text, 50))
