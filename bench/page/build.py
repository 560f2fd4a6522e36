"""The whole page from tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.page.boards import Board, board
from bench.page.bounds import holds_rows, holds_runs, left_out
from bench.page.charts import cell_charts
from bench.page.facts import cell_facts
from bench.page.gallery_picture import Gallery
from bench.page.heatmap import heat_maps
from bench.page.part import Part, families, row_key
from bench.page.render import render
from bench.page.runs import difference_of, runs_behind
from bench.report.study import Cell
from bench.report.table import Table
from bench.report.write import replace_file

PAGE = "index.html"


def write_page(parts: Sequence[Part], folder: Path, gallery: Sequence[Gallery] = ()) -> Path:
    """Write FOLDER/index.html in one step; returns its path. StorageError when the disk is full."""
    path = folder / PAGE
    replace_file(path, page_html(parts, gallery).encode())
    return path


def page_html(parts: Sequence[Part], gallery: Sequence[Gallery] = ()) -> str:
    """The page as text: the same parts and gallery give the same text."""
    boards, too_long = _boards(parts)
    leaderboard, further = boards[0], boards[1:]
    cells = [
        _cell(place, part, cell, family)
        for place, part in enumerate(parts)
        for family in [families(part.tables)]
        for cell in part.tables.study.cells
    ]
    columns = {heading.name: heading.text for one in boards for heading in one.headings if heading.measure}
    squares = {square.column for cell in cells for one in cell["heat"] for line in one.lines for square in line.squares}
    columns |= {
        name: name.removeprefix("corruption_").replace("_", " ") + ", %" for name in sorted(squares - set(columns))
    }
    lines = leaderboard.lines
    values: dict[str, Any] = {
        "title": ", ".join(dict.fromkeys(part.name for part in parts)),
        "parts": parts,
        "notes": [part.note if len(parts) == 1 else f"{part.name}: {part.note}" for part in parts if part.note],
        "statements": _all(parts, "statements"),
        "left_out": [*_all(parts, "notes"), *left_out(parts, too_long)],
        "leaderboard": leaderboard,
        "boards_list": further,
        "filters": [
            (name, label, options)
            for name, label in (("part", "Suite"), ("data", "Data"), ("backbone", "Backbone"), ("family", "Family"))
            if (options := sorted({getattr(line, name) for line in lines})) and (name != "part" or len(options) > 1)
        ],
        "cells": cells,
        "facts": [facts for part in parts for facts in cell_facts(part.tables)],
        "gallery": list(gallery),
    }
    data = {
        "rows": {line.key: {"family": line.family, "data": line.data, "backbone": line.backbone} for line in lines},
        "runs": runs_behind(list(parts), set(columns), holds_runs(parts)),
        "columns": {name: {"text": text, "of": difference_of(name)} for name, text in columns.items()},
        "cells": {cell["id"]: cell["charts"] for cell in cells},
    }
    return render(values, data)


def _boards(parts: Sequence[Part]) -> tuple[list[Board], list[str]]:
    """The leaderboard, then every table that people are shown; and titles of those that are too long for the page."""
    kinds: dict[str, list[tuple[int, Part, Table]]] = {"leaderboard": []}
    for place, part in enumerate(parts):
        tables = part.tables
        for table in (tables.leaderboard, tables.accuracy, tables.robustness, *tables.details, tables.throughput):
            if table.on_page:
                kinds.setdefault(table.name, []).append((place, part, table))
    fitting = {
        name: found
        for name, found in kinds.items()
        if name == "leaderboard" or holds_rows([table for _, _, table in found])
    }
    titles = [found[0][2].title for name, found in kinds.items() if name not in fitting]
    return [board(name, found[0][2].title, found) for name, found in fitting.items()], titles


def _cell(place: int, part: Part, cell: Cell, family: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row_key(place, cell.id),
        "title": cell.title,
        "part": part.name,
        "data": cell.data,
        "backbone": cell.backbone,
        "reference": part.tables.study.reference,
        "charts": cell_charts(place, part.tables, cell.id),
        "heat": heat_maps(place, part.tables, cell.id),
        "families": sorted({family[row.arm] for row in cell.rows}),
    }


def _all(parts: Sequence[Part], name: str) -> list[str]:
    return list(dict.fromkeys(text for part in parts for text in getattr(part.tables, name)))
