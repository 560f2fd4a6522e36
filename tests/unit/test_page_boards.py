from __future__ import annotations

import csv
import io

import pytest

from bench.page.boards import board, heading_text
from bench.page.part import Part
from bench.page.runs import runs_behind
from bench.report.table import Column
from tests.browser.example_page import example_tables


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    return Part("one", example_tables(tmp_path_factory.mktemp("records")))


def made(part, table):
    return board(table.name, table.title, [(0, part, table)])


@pytest.mark.parametrize("name", ["leaderboard", "accuracy", "throughput", "robustness"])
def test_numbers_are_those_of_the_csv(part, name):
    table = getattr(part.tables, name)
    found = made(part, table)
    lines = list(csv.DictReader(io.StringIO(table.csv())))
    assert len(found.headings) >= 4
    for line, row in zip(found.lines, lines, strict=True):
        assert line.method == row["method"]
        for heading, measure in zip(found.headings, line.measures, strict=True):
            assert measure.text in (row[heading.name], "reference")
            if measure.text == "reference":
                assert (row["method"], row[heading.name]) == ("erm", "")
            if measure.reach:
                assert measure.reach == f"{row[f'{heading.name}_low']} to {row[f'{heading.name}_high']}"
        if "n_ok" in row:
            assert line.count == f"{row['n_ok']}/{row['n_planned']}"
            assert line.complete == (row["n_ok"] == row["n_planned"])


def test_bars_lie_as_their_numbers_do(part):
    found = made(part, part.tables.leaderboard)
    for cell in ("cifar10", "cifar100"):
        rows = [row for row in part.tables.leaderboard.rows if row["data"] == cell]
        lines = [line for line in found.lines if line.data == cell]
        ends = [row[f"top1{end}"] for row in rows for end in ("", "_low", "_high") if row[f"top1{end}"] is not None]
        place = [heading.name for heading in found.headings].index("top1")
        for row, line in zip(rows, lines, strict=True):
            share = (row["top1"] - min(ends)) / (max(ends) - min(ends))
            assert line.measures[place].bar.point == pytest.approx(4 + 92 * share, abs=0.051)
            assert line.measures[place].bar.neutral is None
            if row["top1_low"] is not None:
                width = 92 * (row["top1_high"] - row["top1_low"]) / (max(ends) - min(ends))
                assert line.measures[place].bar.width == pytest.approx(width, abs=0.11)
    difference = [heading.name for heading in found.headings].index("difference")
    bars = [line.measures[difference].bar for line in found.lines if line.measures[difference].bar]
    assert bars
    assert all(0 < bar.neutral < 100 for bar in bars)


def test_columns_without_a_number_are_named_and_not_shown(part):
    found = made(part, part.tables.leaderboard)
    empty = {
        column.name
        for column in part.tables.leaderboard.columns
        if all(row[column.name] is None for row in part.tables.leaderboard.rows)
    }
    assert not empty & {heading.name for heading in found.headings}
    assert all(text for text in found.unmeasured)


def test_places_that_all_rows_share_are_told_once(part):
    found = made(part, part.tables.leaderboard)
    assert found.places == ["data"]
    assert found.common == "All rows: backbone test_resnet, protocol digits-100ep."
    other = board("x", "x", [(0, part, part.tables.accuracy), (1, Part("two", part.tables), part.tables.accuracy)])
    assert other.places == ["suite", "data"]
    assert len({line.key for line in other.lines}) == 20


def test_equal_footnotes_share_a_number(part):
    found = made(part, part.tables.accuracy)
    assert [line.notes for line in found.lines if not line.complete] == [[1], [1]]
    assert len(found.footnotes) == 1
    assert "diverged" in found.footnotes[0]


@pytest.mark.parametrize(("meaning", "expected"), [("time, milliseconds", "x y, ms"), ("share, %; t interval", "x y, %"),
                                                   ("a ratio", "x y"), ("a, points", "x y, points")])  # fmt: skip
def test_headings_have_the_unit_of_the_meaning(meaning, expected):
    assert heading_text(Column("x_y", meaning, 2)) == expected


def test_the_runs_behind_a_number_average_to_it(part):
    columns = {"top1", "nll", "top5", "ece", "corruption_mean", "corruption_fog", "best_epoch_selected_on_test"}
    found = runs_behind([part], columns)
    corruptions = part.tables.detail("robustness-corruptions")
    tables = [part.tables.accuracy, part.tables.leaderboard, corruptions]
    checked = set()
    for row in (row for table in tables for row in table.rows):
        behind = found[f"0-{row['arm']}"]
        assert len(behind["runs"]) == row["n_planned"]
        assert sum(run[2] == "ok" for run in behind["runs"]) == row["n_ok"]
        for name in columns & row.keys():
            if row[name] is not None:
                values = [value for value in behind["values"][name] if value is not None]
                assert sum(values) / len(values) == pytest.approx(row[name], rel=1e-5)
                checked.add(name)
    assert checked == columns


def test_a_run_that_failed_has_its_reason_and_no_value(part):
    found = runs_behind([part], {"top1"})
    failed = [row for row in found.values() if row["method"] == "augmix"]
    for row in failed:
        assert row["runs"][1][2] == "diverged"
        assert "loss is not finite" in row["runs"][1][3]
        assert row["values"]["top1"][1] is None
        assert found[row["base"]]["method"] == "erm"
        assert row["timing"].startswith("timed in 8 rounds on Example CPU")
