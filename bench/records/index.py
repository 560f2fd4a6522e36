"""Summaries of record files as lines of a file, so that a command need not read 100,000 runs again.

Only a cache: a summary counts while its file has the size, times and inode that it had, a line that is damaged or was
written by other code is left out, and what is left out is read from the records.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.records.errors import storage
from bench.records.evaluation_summary import EvaluationSummary
from bench.records.line import decode, sealed
from bench.records.sharing import Shared, Told
from bench.records.summaries import Kept, Summaries
from bench.records.training_summary import TrainingSummary

RUNS_A_LINE = 2000
_SOURCES = (
    "evaluation_summary.py", "index.py", "kept.py", "line.py", "reader.py", "sharing.py", "training_summary.py"
)  # fmt: skip
"""The code that decides what a summary says."""
_TRAINING = 0
"""The place of training files among the kinds."""


def index_lines(summaries: Summaries, root: str, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[bytes]:
    """Everything that is kept of runs below a folder, as lines. wanted: which of them, by the folder's name."""
    by_run: dict[str, list[tuple[int, str]]] = {}
    kinds = _kinds(summaries)
    for kind, (kept, _) in enumerate(kinds):
        for path in kept.entries:
            by_run.setdefault(_relative(path, root).split(os.sep, 1)[0], []).append((kind, path))
    runs = _alike_together([files for name, files in by_run.items() if wanted(name)], summaries)
    for start in range(0, len(runs), RUNS_A_LINE):
        shared = Shared()
        files: list[list[Any]] = [[] for _ in kinds]
        for kind, path in (file for run in runs[start : start + RUNS_A_LINE] for file in run):
            signature, summary = kinds[kind][0].entries[path]
            plain = summary if isinstance(summary, str) else summary.plain(shared)
            files[kind].append([_relative(path, root), signature, plain])
        line = {"files": files, "kind": "summaries", "shared": shared.values, "version": version()}
        yield sealed(json.dumps(line, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def take_in(summaries: Summaries, lines: Iterable[bytes], root: str) -> set[str]:
    """Keep the summaries that lines tell of; returns the folders' names of their runs."""
    names: set[str] = set()
    for raw in lines:
        line = decode(raw.removesuffix(b"\n"))
        if line is None or line.get("version") != version():
            continue
        told = Told(line["shared"], summaries.shared)
        for (kept, restore), files in zip(_kinds(summaries), line["files"], strict=True):
            for path, signature, plain in files:
                kept.entries[f"{root}{os.sep}{path}"] = tuple(signature), restore(plain, told)
                names.add(path.split(os.sep, 1)[0])
    return names


def read_index(summaries: Summaries, index: Path, root: str) -> set[str]:
    """Keep what an index file tells; returns the folders' names of its runs, none where there is no such file."""
    try:
        with index.open("rb") as file:
            return take_in(summaries, file, root)
    except OSError:
        return set()


def write_index(summaries: Summaries, index: Path, root: str, wanted: Callable[[str], bool]) -> None:
    """Replace an index file in one step. StorageError when it cannot be written."""
    beside = index.with_name(f".{index.name}.{os.getpid()}")
    with storage("cannot write", index):
        index.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.writelines(index_lines(summaries, root, wanted))
            beside.replace(index)
        finally:
            beside.unlink(missing_ok=True)


@functools.cache
def version() -> str:
    """Digest of the code that makes summaries."""
    total = hashlib.blake2b(digest_size=8)
    for name in _SOURCES:
        total.update(Path(__file__).with_name(name).read_bytes())
    return total.hexdigest()


def _alike_together(runs: list[list[tuple[int, str]]], summaries: Summaries) -> list[list[tuple[int, str]]]:
    """Runs whose begin lines are the same side by side, so that a line of the index says once what they share."""
    places: dict[int, int] = {}

    def place(files: list[tuple[int, str]]) -> int:
        begins = (summaries.training_files.entries[path][1].begin for kind, path in files if kind == _TRAINING)
        begin = next(begins, None)
        return -1 if begin is None else places.setdefault(id(begin), len(places))

    return sorted(runs, key=place)


def _kinds(summaries: Summaries) -> list[tuple[Kept[Any], Callable[[Any, Told], Any]]]:
    return [
        (summaries.training_files, TrainingSummary.from_plain),  # at _TRAINING
        (summaries.evaluation_files, EvaluationSummary.from_plain),
        (summaries.digests, lambda plain, _: plain),
    ]


def _relative(path: str, root: str) -> str:
    return path[len(root) + 1 :]
