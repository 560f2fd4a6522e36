"""One sweep at a time on one results folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from bench.errors import BadInput
from bench.records.errors import storage


@contextlib.contextmanager
def results_lock(folder: Path) -> Generator[None]:
    """Hold the folder while the block runs; the system lets go of it even after kill -9. BadInput when it is held."""
    with storage("cannot make", folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise BadInput(
                f"{folder}: another mixbench run (process {owner}) is writing here; wait for it or use --results"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
