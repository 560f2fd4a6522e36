"""All tables as one JSON document of a documented schema, numbers rounded as in the CSV files."""

from __future__ import annotations

import json
from typing import Any

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
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


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
