"""What one page can hold: of a study with more rows or runs it leaves out details, and says so."""

from __future__ import annotations

from collections.abc import Sequence

from bench.page.part import Part
from bench.report.table import Table

MOST_RUNS = 20_000
"""Single runs that are shown behind numbers, some 100 bytes each."""
MOST_ROWS = 2_000
"""Rows of each table below the leaderboard, some 1,400 bytes each; browsers sort and filter so many at once."""


def holds_runs(parts: Sequence[Part]) -> bool:
    """Whether the single runs behind the numbers are on the page."""
    return _runs(parts) <= MOST_RUNS


def holds_rows(tables: Sequence[Table]) -> bool:
    """Whether a table below the leaderboard, made of these, is on the page."""
    return sum(len(table.rows) for table in tables) <= MOST_ROWS


def left_out(parts: Sequence[Part], tables: Sequence[str]) -> list[str]:
    """Sentences for the page. tables: titles of those that are not on it."""
    notes: list[str] = []
    if not holds_runs(parts):
        notes.append(
            f"The single runs behind the numbers are not on this page: there are {_runs(parts)}, and it holds "
            f"{MOST_RUNS}. `mixbench report` with fewer suites, or a suite cut down with --set, shows them."
        )
    if tables:
        notes.append(
            f"Not on this page, having more than {MOST_ROWS} rows: {', '.join(tables)}. They stand in the CSV files of "
            "`mixbench table`, which also takes --data, --backbone and --family."
        )
    return notes


def _runs(parts: Sequence[Part]) -> int:
    return sum(len(row.runs) for part in parts for cell in part.tables.study.cells for row in cell.rows)
