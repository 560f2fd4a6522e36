"""Appending lines to a record so that a crash at any moment loses at most the line being written."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.records.errors import StorageError, storage
from bench.records.line import encode


class RecordWriter:
    """Appends checked lines to one file; each line is on the disk when `append` returns.

    What an earlier crash left behind is never rewritten: after a torn last line the next one starts on a line of
    its own. One writer a file at a time. Use as a context manager or call `close`.
    Raises StorageError when the disk is full or the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage("cannot open", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            if new:
                _sync_folder(path.parent)
            self._torn = self._ends_inside_a_line()

    def append(self, kind: str, **fields: Any) -> None:
        """Write one line of this kind; see `bench.records.line.encode` for what a field may hold."""
        line = (b"\n" if self._torn else b"") + encode(kind, fields)
        with storage("cannot write", self.path):
            self._torn = True
            written = os.write(self._descriptor, line)
            if written < len(line):
                written += os.write(self._descriptor, line[written:])
            if written < len(line):
                raise StorageError(f"cannot write {self.path}: only {written} of {len(line)} bytes were taken")
            os.fsync(self._descriptor)
            self._torn = False

    def close(self) -> None:
        """Close the file; nothing is pending."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ends_inside_a_line(self) -> bool:
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size == 0:
            return False
        os.lseek(self._descriptor, size - 1, os.SEEK_SET)
        return os.read(self._descriptor, 1) != b"\n"


def _sync_folder(folder: Path) -> None:
    """Put the new file's name on the disk too; a system that cannot sync folders needs no such call."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
