"""Tables as plain aligned text for a terminal."""

from __future__ import annotations

import sys
import textwrap
from typing import TextIO

from bench.report.about import About
from bench.report.build import Tables
from bench.report.rows import REMARKS
from bench.report.table import NOT_APPLICABLE, NOT_MEASURED, Field, Record, Table, shortened

WIDTH = 120
_GAP = "  "


def print_tables(tables: Tables, stream: TextIO | None = None, width: int = WIDTH) -> None:
    """Print title and note, accuracy, robustness and throughput, and what the study can show.

    ASCII except for what names, title and note hold.
    """
    out = stream or sys.stdout
    print(head_text(tables.about, width), end="", file=out)
    for table in (tables.accuracy, tables.robustness, tables.throughput):
        print(table_text(table, width), file=out)
    for statement in tables.statements:
        print(_wrapped(f"What this can show: {statement}", width, ""), file=out)
    for note in tables.notes:
        print(_wrapped(note, width, ""), file=out)


def head_text(about: About, width: int = WIDTH) -> str:
    """Title, note and an empty line, no line longer than `width`; nothing where neither is known."""
    texts = [text for text in (about.title, about.note) if text]
    return "".join(f"{_wrapped(text, width, '')}\n" for text in texts) + ("\n" if texts else "")


def table_text(table: Table, width: int = WIDTH) -> str:
    """One table: a block for each cell, then footnotes and notes. No line is longer than `width`."""
    lines: list[str] = []
    for title, rows in table.blocks() or [("no runs", [])]:
        lines += [_wrapped(f"{table.title.upper()}  {title}", width, ""), *_block(table.fields, rows, width), ""]
    for note in table.notes:
        lines.append(_wrapped(note, width, "  "))
    return "\n".join([*lines, ""])


def _block(fields: list[Field], rows: list[Record], width: int) -> list[str]:
    marks, notes = _footnotes(rows)
    shown: list[tuple[Field, list[str]]] = []
    unmeasured: list[str] = []
    for place, field in enumerate(field for field in fields if field.where != "markdown"):
        texts = [field.text(row) for row in rows]
        if rows and set(texts) <= {NOT_MEASURED, NOT_APPLICABLE}:
            if NOT_MEASURED in texts:
                unmeasured.append(field.heading)
            continue
        if place == 0:
            texts = [shortened(text) + mark for text, mark in zip(texts, marks, strict=True)]
        shown.append((field, texts))
    while len(shown) > 2 and _total(shown) > width:
        left_out, _ = shown.pop()
        notes.append(f"no room for: {left_out.heading} (see the Markdown copy)")
    widths = [max(len(text) for text in [field.heading, *texts]) for field, texts in shown]
    lines = [_line([field.heading for field, _ in shown], shown, widths), "-" * _total(shown)]
    lines += [_line([texts[row] for _, texts in shown], shown, widths) for row in range(len(rows))]
    if unmeasured:
        notes.append(f"{NOT_MEASURED}: {', '.join(dict.fromkeys(unmeasured))}")
    return [*lines, *(_wrapped(note, width, "  ") for note in notes)]


def _footnotes(rows: list[Record]) -> tuple[list[str], list[str]]:
    """A mark for each row, and the notes that the marks stand for; equal notes share a mark."""
    numbers: dict[str, int] = {}
    marks: list[str] = []
    for row in rows:
        text = str(row.get(REMARKS, row["footnotes"]))
        if text:
            numbers.setdefault(text, len(numbers) + 1)
        marks.append(f" [{numbers[text]}]" if text else "")
    return marks, [f"[{number}] {text}" for text, number in numbers.items()]


def _total(shown: list[tuple[Field, list[str]]]) -> int:
    return sum(max(len(text) for text in [field.heading, *texts]) for field, texts in shown) + len(_GAP) * (
        len(shown) - 1
    )


def _line(texts: list[str], shown: list[tuple[Field, list[str]]], widths: list[int]) -> str:
    cells = [
        text.ljust(width) if field.left else text.rjust(width)
        for text, (field, _), width in zip(texts, shown, widths, strict=True)
    ]
    return _GAP.join(cells).rstrip()


def _wrapped(text: str, width: int, indent: str) -> str:
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
