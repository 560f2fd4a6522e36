"""The files of a tuning: two CSVs and a page."""

from __future__ import annotations

from pathlib import Path

from bench.report.table import Field, Record, Table
from bench.report.write import replace_file

_ESCAPES = str.maketrans({"|": "\\|", "<": "&lt;", "`": "'", "\n": " "})


def write_tuning(methods: Table, trials: Table, folder: Path) -> list[Path]:
    """Write tuning.csv, trials.csv and tuning.md into `folder`; returns their paths."""
    texts = {"tuning.csv": methods.csv(), "trials.csv": trials.csv(), "tuning.md": _page(methods, trials)}
    for name, text in texts.items():
        replace_file(folder / name, text.encode())
    return [folder / name for name in texts]


def _page(methods: Table, trials: Table) -> str:
    lines = ["# Tuning", ""]
    for title, rows in methods.blocks():
        lines += [f"## {title}".translate(_ESCAPES), "", *_grid(methods.fields, rows), ""]
        lines += [f"- {row['method']}: {row['footnotes']}".translate(_ESCAPES) for row in rows if row["footnotes"]]
    lines += ["", *(f"- {note}" for note in methods.notes), ""]
    for table in (methods, trials):
        lines += [f"## Columns of {table.name}.csv", ""]
        lines += [f"- `{column.name}`: {column.meaning}" for column in table.columns if not column.detail]
        lines.append("")
    return "\n".join(lines)


def _grid(fields: list[Field], rows: list[Record]) -> list[str]:
    shown = [field for field in fields if field.where != "terminal"]
    body = [[field.heading for field in shown], *([field.text(row) for field in shown] for row in rows)]
    lines = [f"| {' | '.join(text.translate(_ESCAPES) for text in texts)} |" for texts in body]
    rule = " | ".join(":--" if field.left else "--:" for field in shown)
    return [lines[0], f"| {rule} |", *lines[1:]]
