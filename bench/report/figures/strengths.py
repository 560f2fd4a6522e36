"""Accuracy over the size of attacks: the strongest attack as lines, random noise of the same size dashed."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bench.report.figures.curves import legend, legend_height, line, looks, panel
from bench.report.figures.style import FAINT_COLOUR, new_figure, number_of, seeds_of, two_lines
from bench.report.table import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {
    "linf": ("L-inf", "size of the attack, 1/255"),
    "l2": ("L2", "size of the attack, Euclidean length"),
}
_ATTACK, _NOISE = "apgd", "random_noise"


def strength_figure(rows: list[Record], title: str) -> Figure | None:
    """A panel for each norm; None where no curve of at least two sizes was measured. rows: one cell of the attacks
    table."""
    names = [name for row in rows[:1] for name in row]
    sizes = {norm: _sizes(names, _ATTACK, norm) for norm in _PANELS}
    norms = [norm for norm, found in sizes.items() if len(found) > 1]
    shown = [
        row
        for row in rows
        if any(number_of(row, name) is not None for norm in norms for name in sizes[norm].values())
    ]  # fmt: skip
    if not shown:
        return None
    width = 5.2 * len(norms) + 0.6
    figure = new_figure(width, 4.6 + legend_height(shown, width, further=1))
    own, drawn, noise = looks(shown), dict[str, Any](), dict[str, Any]()
    for place, norm in enumerate(norms):
        axes: Axes = figure.add_subplot(1, len(norms), place + 1)
        name, across = _PANELS[norm]
        ticks = list(range(len(sizes[norm])))
        panel(axes, name, across, ticks, [f"{size:g}" for size in sizes[norm]])
        axes.set_ylim(-2, 102)
        axes.set_ylabel("top-1, %")
        noises = _sizes(names, _NOISE, norm)
        for row in shown:
            look = own[str(row["arm"])]
            harmless = [number_of(row, noises[size]) if size in noises else None for size in sizes[norm]]
            if any(value is not None for value in harmless):
                style: dict[str, Any] = {"linestyle": (0, (2, 2)), "marker": "", "linewidth": 0.9, "alpha": 0.7}
                handle = line(axes, ticks, harmless, look, **style)
                if handle is not None and not noise:
                    noise["random noise of the same size"] = _grey(style)
            handle = line(axes, ticks, [number_of(row, one) for one in sizes[norm].values()], look)
            if handle is not None:
                drawn.setdefault(str(row["arm"]), handle)
    legend(figure, shown, drawn, noise)
    heading = f"Accuracy under APGD-CE and targeted APGD-DLR, {seeds_of(shown)}"
    figure.suptitle(two_lines(heading, title), fontsize=10.5)
    return figure


def _sizes(names: list[str], attack: str, norm: str) -> dict[float, str]:
    """Column names by size, smallest first; of several evaluators those of the one with most sizes."""
    pattern = re.compile(rf"(|.+_){attack}_{norm}_([0-9.e+-]+)")
    found: dict[str, dict[float, str]] = {}
    for name in names:
        if match := pattern.fullmatch(name):
            found.setdefault(match[1], {})[float(match[2])] = name
    most = max(found.values(), key=len, default=dict[float, str]())
    return dict(sorted(most.items()))


def _grey(style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=FAINT_COLOUR, linestyle=style["linestyle"], linewidth=1.2)
