"""The folder of records: `<run_id>/<attempt>/` for runs, `speed/<session>.jsonl` for timing sessions.

Attempt and session names are a UTC time and a random suffix, so the folders of many machines merge by copying.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.records.attempt import deciding, read_attempt
from bench.records.collection import collection_paused
from bench.records.errors import StorageError, storage
from bench.records.gather import gather
from bench.records.index import read_index, write_index
from bench.records.runs import RunRecord
from bench.records.speed import SpeedSession, read_session
from bench.records.summaries import Summaries

SPEED_FOLDER = "speed"
MANY = 2000
"""So many new runs are read by several processes, and so many new summaries are worth an index."""


class Store:
    """All records below one folder, such as results/local/records. Reading changes nothing in it.

    summaries: what was read so far. index: a file in which summaries are kept once there are thousands of them; without
    it every record is read by every command.
    """

    def __init__(self, root: Path, index: Path | None = None) -> None:
        self.root = root
        self.summaries = Summaries()
        self._index = index
        self._indexed: set[str] | None = None
        self._in_index = 0

    def new_attempt(self, run_id: str) -> Path:
        """Make and return an empty folder for one attempt at a run. Raises StorageError when it cannot."""
        while True:
            folder = self.root / run_id / _unique_name()
            with storage("cannot make", folder):
                try:
                    folder.mkdir(parents=True)
                except FileExistsError:
                    continue
            return folder

    def new_session(self) -> Path:
        """A fresh file name for a timing session."""
        return self.root / SPEED_FOLDER / f"{_unique_name()}.jsonl"

    def prepare(self, names: Iterable[str] | None = None) -> None:
        """Read the runs of these folder names (None: all) at once where they are many, before each is asked for.

        Does nothing without an index.
        """
        if self._index is None:
            return
        with collection_paused():
            self._prepare(self._index, names)

    def _prepare(self, index: Path, names: Iterable[str] | None) -> None:
        there = self._names()
        if self._indexed is None:
            self._indexed = read_index(self.summaries, index, str(self.root))
            self._in_index = self.summaries.count
        new = sorted(there.difference(self._indexed).intersection(there if names is None else names))
        if len(new) >= MANY:
            gather(self.summaries, str(self.root), new)
            self._indexed |= set(new)
        self.keep_index()

    def keep_index(self) -> None:
        """Write the index where much was read that is not in it. It is only a cache: without room there is none."""
        if self._index is None or self._indexed is None or self.summaries.count - self._in_index < MANY:
            return
        there = self._names()
        with contextlib.suppress(StorageError):
            write_index(self.summaries, self._index, str(self.root), there.__contains__)
        self._in_index = self.summaries.count

    def runs(self) -> list[RunRecord]:
        """One record a run, in the order of run ids. Copies of one attempt count as one attempt."""
        self.prepare()
        grouped: dict[str, list[RunRecord]] = {}
        for name in _subfolders(str(self.root)):
            if name != SPEED_FOLDER:
                for record in self.attempts(name):
                    grouped.setdefault(record.run_id, []).append(record)
        return [_decide(grouped[run_id]) for run_id in sorted(grouped)]

    def run(self, run_id: str) -> RunRecord | None:
        """The record of one run, None when there is none."""
        attempts = self.attempts(run_id)
        return _decide(attempts) if attempts else None

    def attempts(self, run_id: str) -> list[RunRecord]:
        """Every attempt in the folder of one run that wrote anything, oldest first."""
        folder = f"{self.root}{os.sep}{run_id}"
        read = [read_attempt(folder, name, self.summaries) for name in _subfolders(folder)]
        return [record for record in read if record is not None]

    def sessions(self) -> list[SpeedSession]:
        """All timing sessions, oldest first."""
        return [read_session(path) for path in sorted((self.root / SPEED_FOLDER).glob("*.jsonl"))]

    def _names(self) -> set[str]:
        """Names of all folders of runs."""
        with storage("cannot read", self.root):
            return {entry.name for entry in os.scandir(self.root)} if self.root.is_dir() else set()


def beside(root: Path, name: str) -> Path:
    """Where a file that belongs to a folder of records stands: beside one named `records`, else inside it."""
    named = root if root.name not in ("", "..") else root.resolve()
    return (named.parent if named.name == "records" else named) / name


def _decide(attempts: list[RunRecord]) -> RunRecord:
    ordered = sorted(attempts, key=lambda record: (record.attempt, record.where))
    if len(ordered) > 1:
        ordered = list({record.training.digest: record for record in reversed(ordered)}.values())[::-1]
    return replace(deciding(ordered), attempts=tuple(record.attempt for record in ordered))


def _subfolders(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted([entry.name for entry in entries if entry.is_dir()])
    except FileNotFoundError:
        return []
    except OSError:
        with storage("cannot read", folder):
            raise


def _unique_name() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ") + f"-{secrets.token_hex(4)}"
