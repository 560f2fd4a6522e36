"""Writing tables to files, and comparing files with the tables that records give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.records.errors import storage
from bench.report.build import DETAIL_NAMES, Tables
from bench.report.json_tables import tables_json
from bench.report.latex import tables_latex
from bench.report.markdown import tables_markdown
from bench.report.slices import slices_markdown

JSON_FILE, LATEX_FILE, SLICES_FILE, MARKDOWN_FILE = "tables.json", "tables.tex", "slices.md", "tables.md"
_OPTIONAL = (*(f"{name}.csv" for name in DETAIL_NAMES), SLICES_FILE)


def table_files(tables: Tables, families: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """By file name what is written: a CSV a table, tables.json, tables.tex, slices.md where there is more than one
    data set, backbone or family, and last tables.md.

    families: by implementation the family of a method; without it there are no slices by family.
    """
    texts = {f"{table.name}.csv": table.csv() for table in tables.all}
    texts |= {JSON_FILE: tables_json(tables), LATEX_FILE: tables_latex(tables)}
    slices = slices_markdown(tables, families or {})
    texts |= {SLICES_FILE: slices} if slices else {}
    texts[MARKDOWN_FILE] = tables_markdown(tables)
    return {name: text.encode() for name, text in texts.items()}


def write_tables(tables: Tables, folder: Path, families: Mapping[str, str] | None = None) -> list[Path]:
    """Write the files of `table_files`; returns their paths.

    Each file is replaced in one step, so that a reader never meets half a table; files of an earlier call whose table
    has no numbers any more are removed, all else in the folder is left. StorageError when the disk is full.
    """
    files = table_files(tables, families)
    for name, content in files.items():
        replace_file(folder / name, content)
    for name in _OPTIONAL:
        if name not in files:
            with storage("cannot remove", folder / name):
                (folder / name).unlink(missing_ok=True)
    return [folder / name for name in files]


def table_differences(tables: Tables, folder: Path, families: Mapping[str, str] | None = None) -> list[str]:
    """A line for each file of the folder that is not, byte for byte, what `write_tables` would write."""
    files = table_files(tables, families)
    found: list[str] = []
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path}: is missing")
        elif (there := path.read_bytes()) != content:
            found.append(f"{path}:{_first_difference(there, content)}: is not what the records give")
    for name in _OPTIONAL:
        if name not in files and (folder / name).exists():
            found.append(f"{folder / name}: no record has a number for it")
    return found


def _first_difference(there: bytes, wanted: bytes) -> int:
    """The first line in which two texts differ, from 1."""
    lines, others = there.split(b"\n"), wanted.split(b"\n")
    pairs = zip(lines, others, strict=False)
    return next((place for place, (one, other) in enumerate(pairs, 1) if one != other), min(len(lines), len(others)))


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
