"""Lines over severities or attack strengths: one line a method, told apart by colour, dashes and marks."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.figures.style import REFERENCE_COLOUR, grid, label_of
from bench.report.rows import IS_BASE
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_MARKS = ("o", "s", "^", "D", "v")


class Look(NamedTuple):
    """How a method's line is drawn; the same in every panel of a figure."""

    colour: str
    dashes: Any
    mark: str


def looks(rows: Sequence[Record]) -> dict[str, Look]:
    """A look for each row, by arm; no two of the first 60 are alike. The reference is black and solid."""
    found: dict[str, Look] = {}
    place = 0
    for row in rows:
        if row[IS_BASE]:
            found[str(row["arm"])] = Look(REFERENCE_COLOUR, "-", "o")
        else:
            look = Look(
                _COLOURS[place % len(_COLOURS)],
                _DASHES[place // len(_COLOURS) % len(_DASHES)],
                _MARKS[place % len(_MARKS)],
            )
            found[str(row["arm"])] = look
            place += 1
    return found


def line(
    axes: Axes, across: Sequence[float], values: Sequence[float | None], look: Look, **style: Any
) -> Line2D | None:
    """A method's line through what was measured; None where nothing was."""
    known = [(x, value) for x, value in zip(across, values, strict=True) if value is not None]
    if not known:
        return None
    options: dict[str, Any] = {
        "color": look.colour,
        "linestyle": look.dashes,
        "marker": look.mark,
        "linewidth": 1.4,
        "markersize": 3.8,
    }
    [drawn] = axes.plot([x for x, _ in known], [value for _, value in known], **(options | style))
    return drawn


def panel(axes: Axes, name: str, across: str, ticks: Sequence[float], labels: Sequence[str]) -> None:
    """Grid, title and the ticks of one small multiple."""
    grid(axes, "both")
    axes.set_title(name, fontsize=9.5)
    axes.set_xlabel(across)
    axes.set_xticks(list(ticks), list(labels))


def legend(figure: Figure, rows: Sequence[Record], lines: Mapping[str, Any], further: Mapping[str, Any]) -> None:
    """All methods below the panels, in as many columns as their names leave room for."""
    named = [(label_of(row), lines[str(row["arm"])]) for row in rows if str(row["arm"]) in lines]
    named += list(further.items())
    longest = max((len(name) for name, _ in named), default=1)
    columns = max(1, min(len(named), int(figure.get_size_inches()[0] * 11 // (longest + 6))))
    figure.legend(
        [handle for _, handle in named], [name for name, _ in named], loc="outside lower center", ncols=columns,
        frameon=False, fontsize=8.5,
    )  # fmt: skip


def legend_height(rows: Sequence[Record], width: float, further: int = 0) -> float:
    """Inches that `legend` will need in a figure of this width."""
    longest = max((len(label_of(row)) for row in rows), default=1)
    columns = max(1, int(width * 11 // (longest + 6)))
    return 0.25 + 0.19 * -(-(len(rows) + further) // columns)
