"""Slices of a study by data, backbone and family: fewer rows, the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.errors import BadInput, nearest
from bench.report.build import Tables
from bench.report.markdown import markdown_head, markdown_items, markdown_rows
from bench.report.rows import IS_BASE
from bench.report.table import Record, Table


@dataclass(frozen=True)
class Slice:
    """Which rows to keep: names of data and backbone configs and families of methods; empty keeps all."""

    data: Sequence[str] = ()
    backbone: Sequence[str] = ()
    family: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The slice as the name of a folder; empty where it keeps everything."""
        parts = [("data", self.data), ("backbone", self.backbone), ("family", self.family)]
        return "_".join(f"{key}-{'+'.join(values)}" for key, values in parts if values)


def sliced(tables: Tables, chosen: Slice, families: Mapping[str, str]) -> Tables:
    """The rows of a slice with the numbers, ranks and intervals that they have in the whole study.

    Rows of the reference stay with any family. families: by implementation. BadInput where a name fits no row.
    """
    rows = tables.accuracy.rows
    for option, wanted, known in (
        ("--data", chosen.data, {str(row["data"]) for row in rows}),
        ("--backbone", chosen.backbone, {str(row["backbone"]) for row in rows}),
        ("--family", chosen.family, {_family(row, families) for row in rows}),
    ):
        for name in wanted:
            if name not in known:
                raise BadInput(f"{option}: no row has '{name}'; {nearest(name, known)}")

    def kept(row: Record) -> bool:
        return (
            (not chosen.data or row["data"] in chosen.data)
            and (not chosen.backbone or row["backbone"] in chosen.backbone)
            and (not chosen.family or bool(row[IS_BASE]) or _family(row, families) in chosen.family)
        )

    return _restricted(tables, kept)


def slices_markdown(tables: Tables, families: Mapping[str, str]) -> str:
    """The leaderboard in sections by data, by backbone and by family, each where there are several; else empty."""
    board = tables.leaderboard
    parts: list[str] = []
    for title, key in (("data", "data"), ("backbone", "backbone")):
        parts += _sections(board, title, lambda row, key=key: str(row[key]))
    if families:
        parts += _sections(board, "family", lambda row: _family(row, families))
    if not parts:
        return ""
    notes = markdown_items(["Numbers and ranks are those of the whole board; see tables.md for notes and columns."])
    return "\n".join([*markdown_head(tables.about, "Leaderboard in slices"), *notes, *parts])


def _sections(board: Table, title: str, value: Callable[[Record], str]) -> list[str]:
    values = sorted({value(row) for row in board.rows})
    if len(values) < 2:
        return []
    parts: list[str] = []
    for one in values:
        own = [row for row in board.rows if value(row) == one or (title == "family" and row[IS_BASE])]
        parts += [*markdown_rows(replace(board, rows=own, title=f"By {title}: {one}"))]
    return parts


def _family(row: Record, families: Mapping[str, str]) -> str:
    return families.get(str(row["implementation"]), "unknown")


def _restricted(tables: Tables, kept: Callable[[Record], bool]) -> Tables:
    arms = {str(row["arm"]) for row in tables.accuracy.rows if kept(row)}
    cells = [replace(cell, rows=[row for row in cell.rows if row.arm in arms]) for cell in tables.study.cells]
    gone = tuple(f"{cell.title}: " for cell in cells if not cell.rows)
    study = replace(tables.study, cells=[cell for cell in cells if cell.rows])

    def restricted(table: Table) -> Table:
        rows = [row for row in table.rows if row["arm"] in arms]
        return replace(table, rows=rows, notes=_without(table.notes, gone))

    details = [table for table in map(restricted, tables.details) if table.rows]
    return Tables(
        restricted(tables.accuracy), restricted(tables.robustness), restricted(tables.throughput),
        restricted(tables.leaderboard), details, _without(tables.statements, gone), tables.notes, study,
        tables.about,
    )  # fmt: skip


def _without(notes: Sequence[str], gone: tuple[str, ...]) -> list[str]:
    """The notes that are not about a cell that is gone."""
    return [note for note in notes if not note.startswith(gone)] if gone else list(notes)
