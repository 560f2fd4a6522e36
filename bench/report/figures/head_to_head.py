"""Head to head: differences with intervals, performance profiles, and the critical-difference diagram."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.report.figures.style import (
    FAINT_COLOUR,
    METHOD_COLOUR,
    REFERENCE_COLOUR,
    figure_style,
    grid,
    new_figure,
    save,
    two_lines,
)
from bench.report.head_to_head import HeadToHead, Overall, Ranking
from bench.report.table import shortened
from bench.stats import LEVEL, Interval, indistinct_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PROFILE_COLUMNS = 3


def write_head_to_head(found: HeadToHead, folder: Path) -> list[Path]:
    """Draw what there is enough for, each as PNG and SVG; returns the paths.

    head-to-head: always, if any difference is known. profiles: from 4 cells on. critical-difference: from 8 data sets
    on, where Friedman's test finds the methods' ranks to differ.
    """
    paths: list[Path] = []
    with figure_style():
        if any(test.gap is not None or test.estimate is not None for test in found.tests):
            paths += save(differences_figure(found), folder, "head-to-head")
        summarised = [one for one in found.overall if one.summaries is not None]
        if summarised:
            paths += save(profiles_figure(found, summarised), folder, "profiles")
        ranking = found.ranking
        if ranking is not None and ranking.friedman is not None and ranking.friedman < 1 - LEVEL:
            paths += save(ranks_figure(ranking), folder, "critical-difference")
    return paths


def differences_figure(found: HeadToHead) -> Figure:
    """A dot with its interval for each cell, method by method, and below them the means over cells."""
    lines = _lines(found)
    figure = new_figure(9.0, 1.5 + 0.3 * max(3, len(lines)))
    axes: Axes = figure.add_subplot()
    grid(axes, "x")
    axes.axvline(0, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=(0, (4, 3)))
    scale = found.metric.scale
    for place, (_, value, interval, is_mean) in enumerate(lines):
        reach = [[0.0], [0.0]]
        if interval is not None:
            reach = [[(interval.estimate - interval.low) * scale], [(interval.high - interval.estimate) * scale]]
        colour, marker = (REFERENCE_COLOUR, "D") if is_mean else (METHOD_COLOUR, "o")
        filled = colour if interval is not None else "white"
        axes.errorbar(
            value * scale, place, xerr=reach, fmt=marker, color=colour, markerfacecolor=filled, markersize=5, capsize=3,
            linewidth=1.4,
        )  # fmt: skip
    axes.set_yticks(range(len(lines)), [label for label, _, _, _ in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.margins(x=0.08)
    unit = f",{found.metric.unit}" if found.metric.unit else ""
    axes.set_xlabel(f"{found.metric.name} minus that of {found.base}{unit}")
    heading = f"Difference to {found.base} with 95 % intervals, each for itself"
    remarks = ["hollow: no interval can be told"] if any(interval is None for _, _, interval, _ in lines) else []
    remarks += ["diamonds: mean over cells, its error from seeds alone"] if any(line[3] for line in lines) else []
    figure.suptitle(two_lines(heading, "; ".join(remarks)), fontsize=10.5)
    return figure


def _lines(found: HeadToHead) -> list[tuple[str, float, Interval | None, bool]]:
    cells = len({test.cell.id for test in found.tests})
    lines: list[tuple[str, float, Interval | None, bool]] = []
    for test in sorted(found.tests, key=lambda test: found.methods.index(test.row.name)):
        label = shortened(test.row.name) if cells == 1 else f"{shortened(test.row.name)}  {test.cell.title}"
        if test.estimate is not None:
            lines.append((label, test.estimate.value, test.estimate.interval(), False))
        elif test.gap is not None:
            lines.append((label, test.gap, None, False))
    for one in found.overall:
        compared = sum(test.estimate is not None for test in one.tests)
        if one.effect is not None and compared > 1:
            label = f"{shortened(one.method)}  mean of {compared} cells"
            lines.append((label, one.effect.value, one.effect.interval(), True))
    return lines


def profiles_figure(found: HeadToHead, methods: list[Overall]) -> Figure:
    """For each method the share of seeds whose difference exceeds a threshold, with a band where there is one."""
    columns = min(_PROFILE_COLUMNS, len(methods))
    rows = -(-len(methods) // columns)
    figure = new_figure(3.2 * columns + 0.6, 2.5 * rows + 0.9)
    scale = found.metric.scale
    first: Axes | None = None
    for place, one in enumerate(methods):
        sums = one.summaries
        if sums is None:
            continue
        axes: Axes = figure.add_subplot(rows, columns, place + 1, sharex=first, sharey=first)
        first = first or axes
        grid(axes, "both")
        across = [threshold * scale for threshold in sums.thresholds]
        axes.axvline(0, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.step(across, sums.profile, where="post", color=METHOD_COLOUR, linewidth=1.4)
        if sums.resampled is not None:
            low = [share.low for share in sums.resampled.profile]
            high = [share.high for share in sums.resampled.profile]
            axes.fill_between(across, low, high, step="post", color=METHOD_COLOUR, alpha=0.15, linewidth=0)
        axes.set_title(shortened(one.method), fontsize=9)
        axes.set_ylim(-0.03, 1.03)
    unit = f",{found.metric.unit}" if found.metric.unit else ""
    turned = " (sign turned)" if found.metric.direction < 0 else ""
    figure.supxlabel(f"threshold on {found.metric.name} minus {found.base}{turned}{unit}", fontsize=9.5)
    figure.supylabel("share of seeds above it", fontsize=9.5)
    figure.suptitle(two_lines("Performance profiles, cells weighted equally", _band(methods)), fontsize=10.5)
    return figure


def _band(methods: list[Overall]) -> str:
    drawn = next((one.summaries.resampled for one in methods if one.summaries and one.summaries.resampled), None)
    if drawn is None:
        return "no bands: fewer than 8 cells"
    return f"95 % bands: bootstrap over cells, then seeds, {drawn.resamples} resamples, seed {drawn.seed}"


def ranks_figure(ranking: Ranking) -> Figure:
    """Demsar's diagram: mean ranks on a line, bars over methods whose ranks do not differ significantly."""
    ordered = sorted(ranking.mean_ranks, key=lambda name: ranking.mean_ranks[name])
    critical = ranking.critical or 0.0
    groups = indistinct_groups(ranking.mean_ranks, critical)
    half = -(-len(ordered) // 2)
    figure = new_figure(8.0, 1.6 + 0.28 * (half + len(groups)))
    axes: Axes = figure.add_subplot()
    axes.set_axis_off()
    last = len(ordered)
    axes.hlines(0, 1, last, color=REFERENCE_COLOUR, linewidth=1.2)
    for rank in range(1, last + 1):
        axes.vlines(rank, 0, 0.25, color=REFERENCE_COLOUR, linewidth=1.0)
        axes.text(rank, 0.35, str(rank), ha="center", va="bottom", fontsize=9)
    axes.hlines(1.5, 1, 1 + critical, color=REFERENCE_COLOUR, linewidth=1.6)
    axes.text(1 + critical / 2, 1.6, f"critical difference {critical:.2f}", ha="center", va="bottom", fontsize=9)
    for place, group in enumerate(groups):
        start, end = ranking.mean_ranks[group[0]] - 0.04, ranking.mean_ranks[group[-1]] + 0.04
        axes.hlines(-0.35 - 0.4 * place, start, end, color=METHOD_COLOUR, linewidth=3.5)
    below = -0.6 - 0.4 * len(groups)
    margin = 0.15 * last
    for place, name in enumerate(ordered):
        left = place < half
        level = below - 0.6 * (place if left else last - 1 - place)
        rank, end = ranking.mean_ranks[name], 1 - margin if left else last + margin
        axes.plot([rank, rank, end], [0, level, level], color=FAINT_COLOUR, linewidth=0.9)
        axes.text(
            end, level, f" {shortened(name)} ({rank:.2f}) ", ha="right" if left else "left", va="center", fontsize=9
        )
    axes.set_xlim(1 - 4 * margin, last + 4 * margin)
    axes.set_ylim(below - 0.6 * half, 2.4)
    heading = f"Mean ranks over {ranking.data_sets} data sets, 1 is best"
    figure.suptitle(two_lines(heading, "methods under one bar do not differ significantly (Nemenyi)"), fontsize=10.5)
    return figure
