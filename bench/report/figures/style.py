"""How all figures look, and how they are saved: the same bytes for the same numbers and library versions."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.report.table import Record, shortened
from bench.report.write import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHOD_COLOUR = "#0072B2"
REFERENCE_COLOUR = "#000000"
FAINT_COLOUR = "#8A8A8A"
"""Blue, black and grey are told apart in every form of colour blindness, and by lightness in print."""
DOTS_PER_INCH = 150
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "mixbench",
    "text.parse_math": False,
}


@contextmanager
def figure_style() -> Generator[None]:
    """The settings that all drawing happens under; nothing global is changed."""
    from matplotlib import rc_context, rcdefaults

    with rc_context():
        rcdefaults()
        with rc_context(_SETTINGS):
            yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PNG and SVG without dates or versions; returns their paths."""
    paths: list[Path] = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        content = io.BytesIO()
        figure.savefig(content, format=kind, metadata=metadata)
        path = folder / f"{name}.{kind}"
        replace_file(path, content.getvalue())
        paths.append(path)
    return paths


def grid(axes: Axes, which: Literal["x", "y", "both"]) -> None:
    """Faint lines behind the data."""
    axes.grid(True, axis=which, color="#E3E3E3", linewidth=0.8)


def clipped_share(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits of an axis in %, with no room beyond 0 and 100 for intervals that reach there."""
    return max(-1.0, limits[0]), min(101.0, limits[1])


def two_lines(heading: str, title: str) -> str:
    """The title of a figure: what is shown, and below it for which cell, broken where it would be too wide."""
    return "\n".join(line for text in (heading, title) for line in textwrap.wrap(text, 80))


def label_of(row: Record) -> str:
    """A method's name, with its run count where runs are missing."""
    name = shortened(str(row["method"]))
    return name if row["n_ok"] == row["n_planned"] else f"{name} ({row['n_ok']} of {row['n_planned']} runs)"


def seeds_of(rows: list[Record]) -> str:
    """How many runs stand behind each point."""
    counts = sorted({int(row["n_ok"] or 0) for row in rows if row["n_ok"]})
    if not counts:
        return "no finished runs"
    if len(counts) == 1:
        return f"{counts[0]} seed" + ("" if counts[0] == 1 else "s")
    return f"{counts[0]} to {counts[-1]} seeds"


def number_of(row: Record, name: str) -> float | None:
    """A number of a row, None where it was not measured."""
    value = row[name]
    return None if value is None or isinstance(value, str) else float(value)


def reach_of(row: Record, name: str) -> tuple[float, float]:
    """How far the interval reaches below and above its estimate; 0 where there is none."""
    value, low, high = (number_of(row, f"{name}{end}") for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, value - low), max(0.0, high - value)
