"""All tables as one JSON document of a documented schema, numbers rounded as in the CSV files."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, cast

from bench.report.about import About
from bench.report.build import Tables
from bench.report.table import Column, Table, Value

JSON_SCHEMA = "mixbench-tables/1"


def tables_json(tables: Tables) -> str:
    """The document: "schema", "reference", "statements", "notes" and "tables"; before them "title" and "note"
    where they are known.

    A table has "name", "title", "notes", "columns" (name, meaning) and "rows": objects with a key for each column,
    null for what was not measured. Keys stand in the order of the columns; the same records give the same bytes.
    """
    document = {
        "schema": JSON_SCHEMA,
        **about_fields(tables.about),
        "reference": tables.study.reference,
        "statements": tables.statements,
        "notes": tables.notes,
        "tables": [_table(table) for table in tables.all],
    }
    return indented(document) + "\n"


def indented(value: Any, depth: int = 0) -> str:
    """What `json.dumps` writes with an indent of 1, in a third of its time, for dicts with texts as keys, and lists.

    Its fast encoder does not indent; here it writes all that holds no further dict or list, with the line break as
    separator. ValueError for NaN and infinities.
    """
    items = _items(value)
    if not items:
        return _encoder(",").encode(value)
    begin, end = "\n" + " " * (depth + 1), "\n" + " " * depth
    if not any(isinstance(one, dict | list) for one in items):
        text = _encoder(f",{begin}").encode(value)
        return f"{text[0]}{begin}{text[1:-1]}{end}{text[-1]}"
    parts = [indented(one, depth + 1) for one in items]
    if isinstance(value, list):
        return f"[{begin}{f',{begin}'.join(parts)}{end}]"
    names = [_encoder(",").encode(name) for name in cast("dict[str, Any]", value)]
    named = [f"{name}: {part}" for name, part in zip(names, parts, strict=True)]
    return f"{{{begin}{f',{begin}'.join(named)}{end}}}"


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


@cache
def _encoder(between: str) -> json.JSONEncoder:
    return json.JSONEncoder(separators=(between, ": "), ensure_ascii=True, allow_nan=False)


def about_fields(about: About) -> dict[str, str]:
    """Title and note as fields of a document; those that are not known are left out."""
    return {key: text for key, text in (("title", about.title), ("note", about.note)) if text}


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "notes": table.notes,
        "columns": [{"name": column.name, "meaning": column.meaning} for column in table.columns],
        "rows": [{column.name: _plain(row[column.name], column) for column in table.columns} for row in table.rows],
    }


def _plain(value: Value, column: Column) -> Value:
    if value is None or (column.decimals is None and column.digits is None):
        return value
    return float(column.text(value))
