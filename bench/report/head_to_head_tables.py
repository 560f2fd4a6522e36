"""A comparison as two tables and as plain data for JSON."""

from __future__ import annotations

from typing import Any

from bench.report.about import NOTHING_SAID, About
from bench.report.head_to_head import CellTest, HeadToHead, Overall
from bench.report.head_to_head_words import sentences, spread_notes
from bench.report.json_tables import about_fields
from bench.report.rows import METHOD_FIELD, interval_columns, interval_values
from bench.report.table import Column, Field, Record, Table, with_interval
from bench.report.verdicts import p_text
from bench.stats import Interval


def cells_table(found: HeadToHead) -> Table:
    """One row a method and cell: the difference, its interval and both p values."""
    decimals = found.metric.decimals
    columns = [
        Column("data", "name of the data config"),
        Column("backbone", "name of the backbone config"),
        Column("protocol", "name of the protocol config"),
        Column("method", "name of the method config"),
        Column("seeds", "finished runs of the method that have the number"),
        Column("base_seeds", "the same of the base"),
        *interval_columns("difference", f"{found.metric.name} minus that of {found.base}{_in(found)}", decimals),
        Column("df", "degrees of freedom of the interval"),
        Column("pooled", "over what the seed variance is pooled: data set, cell or method"),
        Column("p_equal_spread", "Bartlett's test that the methods have one seed spread", digits=3),
        Column("correlation", "between methods under one seed", 2),
        Column("p", "two-sided p value of this difference alone", digits=3),
        Column("p_holm", f"the same corrected for {found.family} tests by Holm", digits=3),
    ]
    fields = [
        METHOD_FIELD,
        Field("seeds", lambda row: f"{row['seeds']}/{row['base_seeds']}"),
        Field(f"minus {found.base}{_in(found)} [95 %]", with_interval("difference", decimals, signed=True)),
        Field("p", lambda row: _p(row, "p")),
        Field(f"p Holm ({found.family})", lambda row: _p(row, "p_holm")),
        Field("df", lambda row: "-" if row["df"] is None else str(row["df"])),
        Field("spread of", lambda row: str(row["pooled"]), left=True),
    ]
    family = f"Holm corrects for {found.family} tests: every method against {found.base} in every cell, shown or not."
    notes = [family if found.family > 1 else "One test or none, so nothing is corrected.", *spread_notes(found)]
    rows = [_cell_row(test, found) for test in found.tests]
    return Table("head-to-head", f"{found.metric.name} against {found.base}", columns, fields, rows, notes)


def overall_table(found: HeadToHead) -> Table | None:
    """One row a method: the mean over cells; None where no method has two cells."""
    several = [one for one in found.overall if one.effect is not None and _compared(one) > 1]
    if not several:
        return None
    decimals = found.metric.decimals
    columns = [
        Column("data", "data sets that count"),
        Column("backbone", "cells that count"),
        Column("protocol", "the metric"),
        Column("method", "name of the method config"),
        *interval_columns("effect", f"mean over cells of the difference to {found.base}{_in(found)}", decimals),
        Column("relative", "mean over cells of the share of the base's error that is gone, %", 1),
        Column("p", "two-sided p value of the mean effect alone", digits=3),
        Column("p_holm", f"the same corrected for {found.overall_family} methods by Holm", digits=3),
        Column("p_differs", "p value that the effect is the same in all cells", digits=3),
        *interval_columns("interquartile_mean", "interquartile mean over cells, above 0 is better", decimals),
        *interval_columns("improvement", "probability that a run beats one of the base", 3),
    ]
    fields = [
        METHOD_FIELD,
        Field(f"mean effect{_in(found)} [95 %]", with_interval("effect", decimals, signed=True)),
        Field("p", lambda row: _p(row, "p")),
        Field(f"p Holm ({found.overall_family})", lambda row: _p(row, "p_holm")),
        Field("p differs", lambda row: _p(row, "p_differs")),
        Field("error gone %", lambda row: "-" if row["relative"] is None else f"{float(row['relative']):+.1f}"),
    ]
    rows = [_overall_row(one, found) for one in several]
    return Table("head-to-head-overall", "Mean over cells", columns, fields, rows)


def plain_data(found: HeadToHead, about: About = NOTHING_SAID) -> dict[str, Any]:
    """Everything as data for JSON: title and note, rows at full precision, spreads, ranks, profiles, sentences."""
    overall = overall_table(found)
    ranking = found.ranking
    return {
        **about_fields(about),
        "metric": found.metric.name,
        "meaning": found.metric.meaning,
        "better": {1: "higher", -1: "lower", 0: "neither"}[found.metric.direction],
        "base": found.base,
        "family": found.family,
        "cells": cells_table(found).rows,
        "overall": overall.rows if overall else [],
        "over_data_sets": {one.method: _data_sets(one, found.metric.scale) for one in found.overall},
        "profiles": {one.method: _profile(one, found.metric.scale) for one in found.overall if one.summaries},
        "ranking": None if ranking is None else vars(ranking),
        "spread": spread_notes(found),
        "statements": sentences(found),
        "missing": found.missing,
        "notes": found.study.notes,
    }


def _cell_row(test: CellTest, found: HeadToHead) -> Record:
    estimate, cell = test.estimate, test.cell
    return {
        "data": cell.data, "backbone": cell.backbone, "protocol": cell.protocol, "method": test.row.name,
        "footnotes": "", "seeds": test.seeds, "base_seeds": test.base_seeds,
        **interval_values("difference", estimate.interval() if estimate else None, found.metric.scale, test.gap),
        "df": estimate.variance.df if estimate else None,
        "pooled": test.spread.pooled, "p_equal_spread": test.spread.equal, "correlation": test.spread.correlation,
        "p": estimate.p_value if estimate else None, "p_holm": test.adjusted,
    }  # fmt: skip


def _overall_row(one: Overall, found: HeadToHead) -> Record:
    scale, sums = found.metric.scale, one.summaries
    drawn = sums.resampled if sums else None
    return {
        "data": f"{len(one.data_sets)} data set(s)", "backbone": f"{_compared(one)} cells",
        "protocol": found.metric.name, "method": one.method,
        "footnotes": "; ".join(f"without {title}" for title in one.left_out),
        **interval_values("effect", one.effect.interval() if one.effect else None, scale),
        "relative": None if one.relative is None else one.relative * 100,
        "p": one.effect.p_value if one.effect else None, "p_holm": one.adjusted, "p_differs": one.differs,
        **interval_values("interquartile_mean", drawn.interquartile_mean if drawn else None, scale,
                          sums.interquartile_mean if sums else None),
        **interval_values("improvement", drawn.improvement if drawn else None, 1.0, sums.improvement if sums else None),
    }  # fmt: skip


def _data_sets(one: Overall, scale: float) -> dict[str, Any]:
    interval = one.over_data_sets
    return {
        "means": {name: value * scale for name, value in one.data_sets.items()},
        "interval": None if interval is None else _ends(interval, scale),
    }


def _profile(one: Overall, scale: float) -> dict[str, Any]:
    sums = one.summaries
    if sums is None:
        return {}
    drawn = sums.resampled
    return {
        "thresholds": [threshold * scale for threshold in sums.thresholds],
        "share_above": list(sums.profile),
        "intervals": None if drawn is None else [[share.low, share.high] for share in drawn.profile],
        "seed": None if drawn is None else drawn.seed,
        "resamples": None if drawn is None else drawn.resamples,
    }


def _ends(interval: Interval, scale: float) -> list[float]:
    return [interval.estimate * scale, interval.low * scale, interval.high * scale]


def _compared(one: Overall) -> int:
    return sum(test.estimate is not None for test in one.tests)


def _p(row: Record, name: str) -> str:
    value = row[name]
    return p_text(None if value is None else float(value))


def _in(found: HeadToHead) -> str:
    return f",{found.metric.unit}" if found.metric.unit else ""
