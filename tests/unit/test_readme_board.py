"""The README's board is that of the committed records, and a wrong number in it is found."""

from __future__ import annotations

import csv

import pytest

from tools.readme_board import README, TABLES, board, with_board


def test_the_readme_shows_the_committed_tables():
    text = README.read_text(encoding="utf-8")
    assert with_board(text, board(TABLES)) == text
    assert with_board(text.replace("| augmix | 5/5 | 72", "| augmix | 5/5 | 79"), board(TABLES)) == text


def test_numbers_are_those_of_the_leaderboard():
    with (TABLES / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    shown = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in board(TABLES).splitlines()[2:]}
    assert shown.keys() == rows.keys()
    for method, cells in shown.items():
        assert float(cells[2]) == pytest.approx(float(rows[method]["top1"]), abs=0.051)
        assert float(cells[3]) == pytest.approx(float(rows[method]["corruption_mean"]), abs=0.051)
    assert shown["erm"][4] == "reference"


def test_markers_are_needed():
    with pytest.raises(ValueError, match="no markers"):
        with_board("nothing", "table")
