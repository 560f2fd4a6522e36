"""Tables for a paper: LaTeX with booktabs, every name escaped."""

from __future__ import annotations

import re

from bench.report.about import About
from bench.report.build import Tables
from bench.report.table import NOT_APPLICABLE, NOT_MEASURED, Field, Record, Table

_HEAD = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx} (resizebox)."
_DASH = "--"
_AT_MOST_THE_TEXT = "\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi"
_SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", **{one: f"\\{one}" for one in "&%$#_{}"},
})  # fmt: skip
_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\d)")


def tables_latex(tables: Tables) -> str:
    """A `table` environment for each cell of leaderboard, accuracy, robustness and throughput, ASCII but for names.

    Columns that no row of a cell has a value in are left out; "--" is what was not measured. A table that is wider than
    the text is scaled to its width. The title stands as a comment at the head, and with the note below every table, so
    that they go where a table is copied to.
    """
    parts = ["\n".join([_HEAD, *(f"% {escaped(text)}" for text in (tables.about.title, tables.about.note) if text)])]
    for table in (tables.leaderboard, tables.accuracy, tables.robustness, tables.throughput):
        parts += [_environment(table, title, rows, tables.about) for title, rows in table.blocks()]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Any text as LaTeX that prints it; control characters become spaces."""
    plain = text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)
    return plain.translate(_SPECIAL)


def _environment(table: Table, title: str, rows: list[Record], about: About) -> str:
    shown = [
        field
        for field in table.fields
        if field.where != "markdown" and not {field.text(row) for row in rows} <= {NOT_MEASURED, NOT_APPLICABLE}
    ]
    caption = f"{escaped(table.title)}: {escaped(title)}. {_DASH} was not measured."
    lines = [
        "\\begin{table}[t]", "\\centering", f"\\caption{{{caption}}}", f"\\resizebox{{{_AT_MOST_THE_TEXT}}}{{!}}{{%",
        f"\\begin{{tabular}}{{{''.join('l' if field.left else 'r' for field in shown)}}}", "\\toprule",
        _line([escaped(field.heading) for field in shown]), "\\midrule",
        *(_line([_text(field, row) for field in shown]) for row in rows), "\\bottomrule", "\\end{tabular}}",
        *_below(rows, about), "\\end{table}",
    ]  # fmt: skip
    return "\n".join(lines)


def _below(rows: list[Record], about: About) -> list[str]:
    """Title and note, then the footnotes."""
    head = [f"{escaped(text).removesuffix('.')}." for text in (about.title, about.note) if text]
    found = [f"{escaped(str(row['method']))}: {escaped(str(row['footnotes']))}." for row in rows if row["footnotes"]]
    return ["", "\\smallskip", f"\\footnotesize {' '.join([*head, *found])}"] if head or found else []


def _text(field: Field, row: Record) -> str:
    text = field.text(row)
    if text in (NOT_MEASURED, NOT_APPLICABLE):
        return _DASH
    return escaped(text) if field.left else _NEGATIVE.sub("$-$", escaped(text))


def _line(texts: list[str]) -> str:
    """One row of a tabular; a bracket that begins a row would be taken for the argument of the line break before."""
    return " & ".join(f"{{}}{text}" if text.startswith("[") else text for text in texts) + r" \\"
