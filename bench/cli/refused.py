"""What a refused command takes away again: a results folder that it made and in which nothing was recorded."""

from __future__ import annotations

import contextlib
from pathlib import Path

LOGS_FOLDER = "logs"
NO_RECORDS = (".lock", "log.txt")
"""Files that say nothing of a run without a record beside them."""


def absent(folder: Path | None) -> list[Path]:
    """The folder and those above it that are not there yet, innermost first."""
    return [] if folder is None else [path for path in (folder, *folder.parents) if not path.exists()]


def take_away(made: list[Path]) -> None:
    """Remove these folders (as `absent` gave them) where they hold nothing but locks, logs and empty folders.

    Only empty folders are removed, so that what another command records here in the meantime stays.
    """
    if not made or not made[0].is_dir():
        return
    inside = sorted(made[0].rglob("*"), key=lambda path: len(path.parts), reverse=True)
    files = [path for path in inside if not path.is_dir()]
    if any(path.name not in NO_RECORDS and path.parent.name != LOGS_FOLDER for path in files):
        return
    for path in files:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for folder in [*(path for path in inside if path not in files), *made]:
            folder.rmdir()
