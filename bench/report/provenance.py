"""Where a row's numbers come from: record schema, and a digest of the records behind it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.records import PREDICTIONS_FILE, SCHEMA, TRAIN_FILE, RunRecord, SpeedSession
from bench.records.errors import storage
from bench.report.study import Cell, Row
from bench.report.table import Column, Record

PROVENANCE_COLUMNS = [
    Column("schema", "version of the meaning of the record lines"),
    Column(
        "records",
        "digest of the records behind the row: the deciding attempts' lines and predictions, and the cell's step times",
    ),
]


def provenance(cell: Cell, row: Row, sessions: Sequence[SpeedSession]) -> Record:
    """Values of `PROVENANCE_COLUMNS`: equal for equal records, wherever they lie and in whatever order they are read.

    The digest is empty for a row without any record. sessions: the timing sessions that the tables were made from.
    """
    files: list[str] = []
    for run in row.runs.values():
        if run is not None:
            files += [f"{run.run_id} {name} {digest}" for name, digest in _files(run)]
    if files:
        files += [f"speed {_content(one.path)}" for one in sessions if one.begin.get("cell") == cell.id]
    total = hashlib.blake2b("\n".join(sorted(files)).encode(), digest_size=8).hexdigest()
    return {"schema": SCHEMA, "records": total if files else None}


def _files(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Names and digests of the files that a run's numbers come from."""
    yield TRAIN_FILE, run.training.digest
    for files in run.evaluated.names.values():
        yield from ((file, run.evaluated.summary(file).digest) for file in files)
    digest = run.summaries.digest(f"{run.where}{os.sep}{PREDICTIONS_FILE}")
    if digest is not None and digest == run.files.get(PREDICTIONS_FILE, digest):
        yield PREDICTIONS_FILE, digest


def _content(path: Path) -> str:
    with storage("cannot read", path):
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
