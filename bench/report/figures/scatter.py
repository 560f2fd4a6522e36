"""One quantity against another, a labelled point a method."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.report.figures.places import Box, Point, place_labels
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

_MARKER = 5.0


class Axis(NamedTuple):
    """A column of the leaderboard and what to call it. share: its values are in %."""

    column: str
    label: str
    share: bool = True


def scatter_figure(rows: list[Record], across: Axis, up: Axis, heading: str, title: str) -> Figure | None:
    """Points with 95 % intervals both ways and names that cover nothing; None where fewer than one was measured.

    rows: one cell of the leaderboard. Dotted lines cross at the reference.
    """
    shown = [row for row in rows if row[across.column] is not None and row[up.column] is not None]
    if not shown:
        return None
    figure = new_figure(8.0, 6.0)
    axes: Axes = figure.add_subplot()
    grid(axes, "both")
    for row in shown:
        _point(axes, row, across, up)
    axes.margins(0.14)
    axes.set_xlabel(across.label)
    axes.set_ylabel(up.label)
    left_out = len(rows) - len(shown)
    remark = f"; {left_out} of {len(rows)} methods not measured" if left_out else ""
    figure.suptitle(two_lines(f"{heading}, {seeds_of(shown)}{remark}", title), fontsize=10.5)
    figure.draw_without_rendering()
    if across.share:
        axes.set_xlim(*clipped_share(axes.get_xlim()))
    if up.share:
        axes.set_ylim(*clipped_share(axes.get_ylim()))
    figure.set_layout_engine("none")
    _write_labels(figure, axes, shown, across, up)
    return figure


def _point(axes: Axes, row: Record, across: Axis, up: Axis) -> None:
    x, y = number_of(row, across.column) or 0.0, number_of(row, up.column) or 0.0
    colour = METHOD_COLOUR
    if row[IS_BASE]:
        colour = REFERENCE_COLOUR
        axes.axvline(x, color=colour, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
        axes.axhline(y, color=colour, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
    bars = [[[end] for end in reach_of(row, axis.column)] for axis in (across, up)]
    axes.errorbar(x, y, xerr=bars[0], yerr=bars[1], fmt="none", ecolor=colour, alpha=0.35, linewidth=1.2, capsize=2)
    axes.plot(x, y, "o", color=colour, markersize=_MARKER, zorder=3)


def _write_labels(figure: Figure, axes: Axes, rows: Sequence[Record], across: Axis, up: Axis) -> None:
    from matplotlib.patheffects import withStroke

    canvas: Any = figure.canvas
    renderer = canvas.get_renderer()
    halo = [withStroke(linewidth=2.5, foreground="white")]
    texts: list[Any] = [axes.text(0, 0, label_of(row), fontsize=8.5, zorder=4, path_effects=halo) for row in rows]
    sizes = [(box.width, box.height) for box in (text.get_window_extent(renderer) for text in texts)]
    extent: Any = axes.get_window_extent(renderer)
    area = Box(extent.x0, extent.y0, extent.x1, extent.y1).grown(-3)
    to_pixels: Any = axes.transData
    drawn = [_drawn(row, across, up, area, to_pixels) for row in rows]
    points = [point for point, _ in drawn]
    marker = _MARKER / 2 * figure.dpi / 72
    places = place_labels(points, sizes, area, marker, [line for _, lines in drawn for line in lines])
    for row, text, point, place in zip(rows, texts, points, places, strict=True):
        text.set(position=to_pixels.inverted().transform((place.left, place.bottom)), ha="left", va="bottom")
        text.set_color(REFERENCE_COLOUR if row[IS_BASE] else METHOD_COLOUR)
        _leader(axes, point, place, to_pixels, marker)


def _drawn(row: Record, across: Axis, up: Axis, area: Box, to_pixels: Any) -> tuple[Point, list[Box]]:
    """In pixels: a row's point, and thin boxes along its interval bars and reference lines."""
    x, y = number_of(row, across.column) or 0.0, number_of(row, up.column) or 0.0
    left, right = reach_of(row, across.column)
    below, above = reach_of(row, up.column)
    (west, south), (east, north), (pixel_x, pixel_y) = (
        (float(a), float(b)) for a, b in to_pixels.transform([(x - left, y - below), (x + right, y + above), (x, y)])
    )
    lines = [Box(west, pixel_y - 1, east, pixel_y + 1), Box(pixel_x - 1, south, pixel_x + 1, north)]
    if row[IS_BASE]:
        lines.append(Box(area.left, pixel_y - 1, area.right, pixel_y + 1))
        lines.append(Box(pixel_x - 1, area.bottom, pixel_x + 1, area.top))
    return (pixel_x, pixel_y), lines


def _leader(axes: Axes, point: Point, place: Box, to_pixels: Any, marker: float) -> None:
    """A thin line from a label to its point, where the label does not stand right beside it."""
    x = min(max(point[0], place.left), place.right)
    y = min(max(point[1], place.bottom), place.top)
    if (x - point[0]) ** 2 + (y - point[1]) ** 2 > (3 * marker) ** 2:
        ends = to_pixels.inverted().transform([(x, y), point])
        axes.plot(ends[:, 0], ends[:, 1], color=FAINT_COLOUR, linewidth=0.7, zorder=2, scalex=False, scaley=False)
