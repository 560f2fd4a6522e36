"""One at a time on one results folder, for what sweeps cannot share: timing steps, writing tables, tuning."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

from bench.errors import BadInput
from bench.records.errors import storage

WAIT_SECONDS = 60.0


@contextlib.contextmanager
def results_lock(folder: Path, patient: bool = False) -> Generator[int]:
    """Hold the folder while the block runs; gives the descriptor of the lock, for workers to hold too.

    The system lets go of it once this process and its workers are gone, even after kill -9. Waits a while for workers
    that are still saving their state. BadInput when the folder is held for longer; patient: wait for as long as it
    takes instead.
    """
    with storage("cannot make", folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, folder, patient)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path, patient: bool) -> None:
    deadline, told = time.monotonic() + WAIT_SECONDS, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "0"
        if not patient and (time.monotonic() > deadline or _alive(owner)):
            raise BadInput(
                f"{folder}: another mixbench run (process {owner}) is writing here; wait for it or use --results"
            )
        if not told:
            what = f"mixbench (process {owner})" if _alive(owner) else "the workers of an interrupted run"
            print(f"waiting for {what} to let go of {folder} ...", file=sys.stderr, flush=True)
            told = True
        time.sleep(0.2)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
