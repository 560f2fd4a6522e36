"""Every method under every corruption: accuracy of the reference, and how far the others lie above or below it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.report.corruption_sets import EXTRA, STANDARD
from bench.report.figures.style import (
    FAINT_COLOUR,
    label_of,
    new_figure,
    number_of,
    seeds_of,
    two_lines,
)
from bench.report.rows import IS_BASE
from bench.report.table import Record, fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def corruption_heatmap(
    rows: list[Record], label: str, conditions: Sequence[str], title: str, reference: str
) -> Figure | None:
    """One cell of the corruptions table as a grid; None where nothing was measured.

    conditions: the corruptions in order. The reference's row holds accuracies in %, the other rows differences to it
    in points; without a reference every row holds accuracies. The extra corruptions stand apart on the right.
    """
    import numpy as np
    from matplotlib.colors import TwoSlopeNorm

    shown = [row for row in rows if any(number_of(row, f"{label}_{name}") is not None for name in conditions)]
    if not shown or not conditions:
        return None
    base = next((row for row in shown if row[IS_BASE]), None)
    figure = new_figure(3.2 + 0.56 * len(conditions), 2.9 + 0.3 * len(shown))
    axes: Axes = figure.add_subplot()
    values = np.array([[_value(row, f"{label}_{name}", base) for name in conditions] for row in shown], dtype=float)
    compared = np.array(
        [[np.nan if row is base else value for value in line] for row, line in zip(shown, values, strict=True)]
    )
    if base is None:
        drawn = axes.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=100)
    else:
        reach = max(1.0, float(np.nanmax(np.abs(compared), initial=0.0)))
        drawn = axes.imshow(compared, aspect="auto", cmap="RdBu", norm=TwoSlopeNorm(0, -reach, reach))
    _write(axes, shown, values, base, drawn)
    _name(axes, shown, conditions)
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, fraction=0.03)
    bar.set_label("accuracy, %" if base is None else f"points above {reference}")
    what = "in %" if base is None else f"{reference} in %, others in points above it"
    heading = f"Accuracy under each corruption ({what}), {seeds_of(shown)}"
    figure.suptitle(two_lines(heading, title), fontsize=10.5)
    return figure


def _value(row: Record, name: str, base: Record | None) -> float:
    value = number_of(row, name if base is None or row is base else f"{name}_difference")
    return float("nan") if value is None else value


def _write(axes: Axes, rows: list[Record], values: object, base: Record | None, drawn: object) -> None:
    """The numbers, in black or white whichever is read more easily."""
    import numpy as np

    grid = np.asarray(values, dtype=float)
    mappable: Any = drawn
    for place, row in enumerate(rows):
        for column, value in enumerate(grid[place]):
            if np.isnan(value):
                axes.text(column, place, "-", ha="center", va="center", color=FAINT_COLOUR, fontsize=8)
                continue
            compared = base is not None and row is not base
            colour = "black"
            if row is not base:
                red, green, blue, _ = mappable.cmap(mappable.norm(value))
                colour = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
            weight = "bold" if row is base else "normal"
            text = fixed(float(value), 1, signed=compared)
            axes.text(column, place, text, ha="center", va="center", color=colour, fontsize=7.5, fontweight=weight)


def _name(axes: Axes, rows: list[Record], conditions: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [label_of(row) for row in rows])
    names = [name.replace("_", " ") for name in conditions]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    extra = [name for name in conditions if name in EXTRA]
    if extra and set(STANDARD) <= set(conditions):
        axes.axvline(len(conditions) - len(extra) - 0.5, color="black", linewidth=1.5)
        axes.annotate(
            "extra, in no mean", (len(conditions) - len(extra) / 2 - 0.5, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=8, color=FAINT_COLOUR,
        )  # fmt: skip
