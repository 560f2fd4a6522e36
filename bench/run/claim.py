"""A worker's hold on the run of its task: a lease, and the check that nobody else did the run since it was planned."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.records import BEST_FILE, CHECKPOINT_FILE, TRAIN_FILE, Store, read_record
from bench.records.errors import storage
from bench.records.lease import Lease, acquire
from bench.records.reader import damaged_since_begin

ELSEWHERE = "elsewhere"
"""Status of a task that was left to somebody else; it is no ending of a run and is never recorded."""
LOST = "somebody else does this run now"


class Elsewhere(Exception):
    """Another sweep holds the run of a task, or has done something to it since the task was made."""


class Claim:
    """Holds the run of a task inside a `with` block; a task without "lease" needs no hold.

    task["lease"]: folder and seconds as `bench.records.lease.acquire` takes them; seen: name and status of the run's
    attempts as the plan knew them; expired: content of a lease to take over, or None; copy: folder of an attempt to
    continue in the task's own folder, since its holder may wake up, or None. Raises Elsewhere on entry.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._lease: Lease | None = None

    @property
    def lost(self) -> bool:
        """Somebody else has taken the run over."""
        return self._lease is not None and self._lease.lost

    def __enter__(self) -> Self:
        wanted = self._task.get("lease")
        if wanted is not None:
            lease = acquire(Path(wanted["folder"]), self._task["name"], wanted["seconds"], wanted["expired"])
            if lease is None:
                raise Elsewhere("another sweep is doing this run")
            self._lease = lease
            try:
                self._check(wanted)
            except BaseException:
                lease.release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lease is not None:
            self._lease.release()

    def _check(self, wanted: dict[str, Any]) -> None:
        folder = Path(self._task["folder"])
        run = folder.parent
        if wanted["seen"] is not None and attempts_of(Store(run.parent), run.name) != wanted["seen"]:
            raise Elsewhere("something was done to this run since it was planned")
        if wanted["copy"] is not None:
            _copy_attempt(Path(wanted["copy"]), folder)


def attempts_of(store: Store, run_id: str) -> list[list[str]]:
    """Name and status of every attempt at a run, oldest first, as a plan states them."""
    return [[record.attempt, record.status] for record in store.attempts(run_id)]


def finished_evaluation(file: Path) -> bool:
    """Whether an evaluator's record is complete and whole."""
    lines = read_record(file).lines
    ended = bool(lines) and lines[-1]["kind"] == "end" and lines[-1]["status"] == "ok"
    return ended and not damaged_since_begin(file)


def _copy_attempt(old: Path, new: Path) -> None:
    """What training needs to go on. The checkpoint first: the record must not be behind it."""
    with storage("cannot make", new):
        new.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT_FILE, TRAIN_FILE, BEST_FILE):
        if (old / name).is_file():
            with storage("cannot copy", old / name):
                shutil.copyfile(old / name, new / name)
