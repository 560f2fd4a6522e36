"""Writing tables to files."""

from __future__ import annotations

import os
from pathlib import Path

from bench.records.errors import storage
from bench.report.build import Tables
from bench.report.markdown import tables_markdown

MARKDOWN_FILE = "tables.md"


def write_tables(tables: Tables, folder: Path) -> list[Path]:
    """Write a CSV for each table and tables.md; returns their paths.

    Each file is replaced in one step, so that a reader never meets half a table. StorageError when the disk is full.
    """
    texts = {f"{table.name}.csv": table.csv() for table in tables.all}
    texts[MARKDOWN_FILE] = tables_markdown(tables)
    paths: list[Path] = []
    for name, text in texts.items():
        path = folder / name
        replace_file(path, text.encode())
        paths.append(path)
    return paths


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there. StorageError when it cannot."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with storage("cannot write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
