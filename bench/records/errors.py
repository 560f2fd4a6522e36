"""What goes wrong with disks, in one line."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageError(Exception):
    """A record could not be written or read: disk full, no permission, folder gone. All finished lines are kept.

    full: no further byte fits on the disk, into the quota or below the process's limit for files, so that every other
    run would fail too until somebody makes room.
    """

    def __init__(self, message: str, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


def disk_is_full(error: OSError) -> bool:
    """Whether the system refused a write because there is no room: disk, quota or file-size limit."""
    return error.errno in _FULL


@contextmanager
def storage(what: str, path: Path | str) -> Generator[None]:
    """Turn an OSError of the block into a StorageError that names the file and the reason."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} {path}: {error.strerror or error}", disk_is_full(error)) from error
