"""All tables as one Markdown page that also reads well as plain text."""

from __future__ import annotations

from bench.report.about import About
from bench.report.build import Tables
from bench.report.rows import REMARKS
from bench.report.table import Field, Record, Table

_ESCAPES = str.maketrans({"|": "\\|", "<": "&lt;", "`": "'", "\n": " "})


def tables_markdown(tables: Tables) -> str:
    """The page: what the study can show, then every table with its notes and footnotes."""
    parts = [*markdown_head(tables.about, "Results"), *markdown_items([*tables.statements, *tables.notes])]
    for table in (tables.leaderboard, tables.accuracy, tables.robustness, *tables.details, tables.throughput):
        if table.on_page:
            parts += [*markdown_rows(table), *markdown_items(table.notes)]
    return "\n".join([*parts, *_columns(tables.all)])


def _columns(tables: list[Table]) -> list[str]:
    lines = ["## Columns of the CSV files", "", "An empty cell was not measured. `x_low` and `x_high` are the ends of "]
    lines[-1] += "the 95 % interval of `x`, `x_df` its degrees of freedom, `x_n` the seeds that both methods have, "
    lines[-1] += "`x_difference` is `x` minus that of the reference, paired by seed."
    said: set[str] = set()
    for table in tables:
        fresh = [column for column in table.columns if not column.detail and column.name not in said]
        repeated = " (beside those above)" if said else ""
        said |= {column.name for column in fresh}
        lines += ["", f"### {table.name}.csv{repeated}", ""] if fresh else []
        lines += [f"- `{column.name}`: {_escaped(column.meaning)}" for column in fresh]
    return [*lines, ""]


def markdown_rows(table: Table) -> list[str]:
    """A table's heading and rows, a block for each cell with its footnotes."""
    lines: list[str] = []
    for title, rows in table.blocks():
        lines += [f"### {_escaped(title)}", "", *_block(table.fields, rows), ""]
        remarks = [(row["method"], row.get(REMARKS, row["footnotes"])) for row in rows]
        footnotes = [f"{method}: {text}" for method, text in remarks if text]
        lines += markdown_items(footnotes)
    return [f"## {_escaped(table.title)}", "", *(lines or ["No runs.", ""])]


def _block(fields: list[Field], rows: list[Record]) -> list[str]:
    fields = [field for field in fields if field.where != "terminal"]
    grid = [[_escaped(field.heading) for field in fields]]
    grid += [[_escaped(field.text(row)) for field in fields] for row in rows]
    widths = [max(3, *(len(line[place]) for line in grid)) for place in range(len(fields))]
    lines = [_line(line, fields, widths) for line in grid]
    rule = [
        ":" + "-" * (width - 1) if field.left else "-" * (width - 1) + ":"
        for field, width in zip(fields, widths, strict=True)
    ]
    return [lines[0], _line(rule, fields, widths), *lines[1:]]


def _line(texts: list[str], fields: list[Field], widths: list[int]) -> str:
    cells = [
        text.ljust(width) if field.left else text.rjust(width)
        for text, field, width in zip(texts, fields, widths, strict=True)
    ]
    return f"| {' | '.join(cells)} |"


def markdown_head(about: About, heading: str) -> list[str]:
    """A page's first heading with the title, and the note; the heading alone where neither is known."""
    title = f"{heading}: {about.title}" if about.title else heading
    return [f"# {_escaped(title)}", "", *([f"Note: {_escaped(about.note)}", ""] if about.note else [])]


def markdown_items(texts: list[str]) -> list[str]:
    """Texts as a list, escaped; nothing for none."""
    return [*(f"- {_escaped(text)}" for text in texts), ""] if texts else []


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES).replace("](", "]\\(")
