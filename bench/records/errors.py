"""What goes wrong with disks, in one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class StorageError(Exception):
    """A record could not be written or read: disk full, no permission, folder gone. All finished lines are kept."""


@contextmanager
def storage(what: str, path: Path) -> Generator[None]:
    """Turn an OSError of the block into a StorageError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} {path}: {error.strerror or error}") from error
