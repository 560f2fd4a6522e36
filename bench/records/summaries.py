"""Summaries of record files, kept in memory for as long as the files stay as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.records.begin import Begin, checked
from bench.records.errors import storage
from bench.records.evaluation_summary import EvaluationSummary, summarise_evaluation
from bench.records.kept import content_digest
from bench.records.reader import read_bytes
from bench.records.sharing import Shared
from bench.records.training_summary import TrainingSummary, summarise_training

SETTLED_SECONDS = 5.0
"""A file that changed within this time is read again: another change may leave size and coarse times as they are."""

Signature = tuple[int, int, int, int]
"""Size in bytes, times of the last change of content and of state in ns, inode."""
Summary = TypeVar("Summary")


class Kept(Generic[Summary]):
    """Summaries of one kind by path, each with the signature of the file that it was made from."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Signature, Summary]] = {}

    def find(self, path: str, signature: Signature) -> Summary | None:
        """The summary of a file that is still the same."""
        found = self.entries.get(path)
        return found[1] if found is not None and found[0] == signature else None


class Summaries:
    """Reads record files, each once while it stays as it is. A file's changes show in its size, times or inode.

    read: how many files were read. settled_seconds: how long a file must have been left alone to be kept.
    """

    def __init__(self, settled_seconds: float = SETTLED_SECONDS) -> None:
        self.shared = Shared()
        self.training_files: Kept[TrainingSummary] = Kept()
        self.evaluation_files: Kept[EvaluationSummary] = Kept()
        self.digests: Kept[str] = Kept()
        self.read = 0
        self._settled = settled_seconds
        self._begins: dict[int, Begin] = {}

    @property
    def count(self) -> int:
        """How many summaries are kept."""
        return sum(len(kept.entries) for kept in (self.training_files, self.evaluation_files, self.digests))

    def training(self, path: str) -> TrainingSummary:
        """The summary of a training record; that of an empty file where there is none."""
        return self._summary(self.training_files, path, summarise_training)

    def training_if_any(self, path: str) -> TrainingSummary | None:
        """The summary of a training record; None where there is no such file."""
        signature = signature_of(path)
        return None if signature is None else self._found(self.training_files, path, signature, summarise_training)

    def begin(self, line: dict[str, Any]) -> Begin:
        """The begin line of a training summary, checked once for all attempts that share it."""
        found = self._begins.get(id(line))
        if found is None:
            found = self._begins[id(line)] = checked(line)
        return found

    def evaluation(self, path: str) -> EvaluationSummary:
        """The summary of an evaluator's record; that of an empty file where there is none."""
        return self._summary(self.evaluation_files, path, summarise_evaluation)

    def digest(self, path: str) -> str | None:
        """The digest of any file's content; None where there is no such file."""
        signature = signature_of(path)
        return None if signature is None else self._found(self.digests, path, signature, _digest)

    def _summary(self, kept: Kept[Summary], path: str, summarise: Callable[[bytes, Shared], Summary]) -> Summary:
        return self._found(kept, path, signature_of(path), summarise)

    def _found(
        self, kept: Kept[Summary], path: str, signature: Signature | None, summarise: Callable[[bytes, Shared], Summary]
    ) -> Summary:
        if signature is not None and (found := kept.find(path, signature)) is not None:
            return found
        now = time.time_ns()
        summary = summarise(read_bytes(path), self.shared)
        self.read += 1
        if signature is not None and now - max(signature[1:3]) > self._settled * 1e9:
            kept.entries[path] = signature, summary
        return summary


def _digest(content: bytes, _: Shared) -> str:
    return content_digest(content)


def signature_of(path: str | Path) -> Signature | None:
    """What tells whether a file has changed; None where there is no such file."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - a Path for each of 300,000 files takes seconds
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        with storage("cannot read", path):
            raise
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino
