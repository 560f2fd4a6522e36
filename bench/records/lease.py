"""Leases: who does a run at the moment, so that sweeps over one folder, also from many machines, share the work.

A run's lease is a small file `<run_id>/<generation>` that its holder rewrites again and again. Whoever makes the file
of the next generation is the next holder; making it is atomic (a hard link), also on NFS. Clocks of machines are never
compared: a lease has expired once an observer has seen the same content for as long as the lease says, by the
observer's own clock. A holder on the same machine that no longer runs is known to be gone at once.

Leases save work; what counts is decided by the records. A holder that loses its lease stops, and until it notices it
writes into an attempt of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.records.errors import StorageError, storage
from bench.records.machine import machine_id, process_start, runs_here

LEASE_SECONDS = 120.0
"""How long an unchanged lease counts; NFS clients may show a file as it was up to 60 s ago."""
BEATS = 6
"""Renewals in the life of a lease."""
LOOKS, LOOK_SECONDS = 100, 0.02
"""How often, and after what pause, a lease that vanished between listing and reading is looked for again."""


@dataclass(frozen=True)
class Holder:
    """A lease as an observer reads it. seconds: how long it counts without change. host, process: for people."""

    generation: int
    content: str
    seconds: float
    host: str
    process: int
    gone: bool
    """The holder ran on this machine and does not any more."""


class Lease:
    """A held lease, renewed by a thread until `release`."""

    def __init__(self, file: Path, seconds: float) -> None:
        self._file, self._seconds = file, seconds
        self._token = secrets.token_hex(8)
        self._beat = 0
        self._done = threading.Event()
        self._lost = threading.Event()
        self._renewed = time.monotonic()

    @property
    def lost(self) -> bool:
        """Somebody else holds the run now, or may: nothing was heard of this lease for longer than it counts."""
        return self._lost.is_set()

    def release(self) -> None:
        """Let the next one have it; without effect when it was lost."""
        self._done.set()
        if not self._lost.is_set() and self._is_own():
            with contextlib.suppress(OSError):
                self._file.unlink()
                self._file.parent.rmdir()

    def start(self) -> None:
        """Begin to renew."""
        threading.Thread(target=self._keep, daemon=True).start()

    def content(self) -> str:
        """What the file holds now."""
        fields = {
            "token": self._token, "beat": self._beat, "seconds": self._seconds, "host": socket.gethostname(),
            "machine": machine_id(), "process": os.getpid(), "started": process_start(os.getpid()),
        }  # fmt: skip
        return json.dumps(fields)

    def _keep(self) -> None:
        while not self._done.wait(self._seconds / BEATS):
            late = time.monotonic() - self._renewed > self._seconds
            if late or not self._is_own():
                self._lost.set()
                return
            with contextlib.suppress(OSError):  # a disk that is full or away: the next beat may come through
                self._beat += 1
                _write_beside(self._file, self.content()).replace(self._file)
                self._renewed = time.monotonic()

    def _is_own(self) -> bool:
        newest = max(_generations(self._file.parent), default=0)
        return newest == int(self._file.name) and self._token in _read(self._file)


def holder(folder: Path, run_id: str) -> Holder | None:
    """Who holds a run; None when nobody does."""
    newest, content = _newest(folder / run_id)
    return _holder(newest, content) if newest else None


def _holder(generation: int, content: str) -> Holder:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    process, started = int(fields.get("process", 0)), str(fields.get("started", ""))
    gone = fields.get("machine") == machine_id() and not runs_here(process, started)
    seconds = float(fields.get("seconds", LEASE_SECONDS))
    return Holder(generation, content, seconds, str(fields.get("host", "?")), process, gone)


def acquire(folder: Path, run_id: str, seconds: float = LEASE_SECONDS, expired: str | None = None) -> Lease | None:
    """Hold a run, or None while somebody else does. seconds: how long the lease counts without renewal.

    expired: content of a lease that the caller has watched for longer than it counts; it is taken over if it is still
    the same. StorageError when the folder cannot be written.
    """
    own = folder / run_id
    newest, content = _newest(own)
    before = _holder(newest, content) if newest else None
    if before is not None and not before.gone and before.content != expired:
        return None
    generation = newest + 1  # of the same look as the verdict, so that two who came to it want the same file
    lease = Lease(own / str(generation), seconds)
    with storage("cannot write", own):
        if not _create(own / str(generation), lease.content()):
            return None
    for older in _generations(own):
        if older < generation:
            with contextlib.suppress(OSError):
                (own / str(older)).unlink()
    lease.start()
    return lease


class Watch:
    """An observer of other holders' leases in one folder, with its own clock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, tuple[str | None, float]] = {}

    def look(self, run_id: str) -> tuple[bool, str | None]:
        """Whether a run may be taken now, and the content of the expired lease that is taken over then (None: none).

        Must be called again and again; what counts is how long a content has not changed between calls.
        """
        found = holder(self._folder, run_id)
        if found is None or found.gone:
            self._seen.pop(run_id, None)
            return True, None
        now = time.monotonic()
        content, since = self._seen.get(run_id, (None, now))
        if content != found.content:
            self._seen[run_id] = (found.content, now)
            return False, None
        return (True, content) if now - since > found.seconds else (False, None)


def _create(file: Path, content: str) -> bool:
    """Make a file with this content; False where it is there already. The name appears with the content in it."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = _write_beside(file, content)
        except FileNotFoundError:  # a holder that released took the folder away
            continue
        try:
            os.link(temporary, file)
            return True
        except FileExistsError:
            return temporary.stat().st_nlink == 2  # on NFS the answer to a successful link can get lost
        except FileNotFoundError:
            continue
        finally:
            temporary.unlink(missing_ok=True)


def _write_beside(file: Path, content: str) -> Path:
    temporary = file.with_name(f".{secrets.token_hex(8)}")
    with temporary.open("w") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    return temporary


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _newest(folder: Path) -> tuple[int, str]:
    """Generation and content of the newest lease, (0, "") without any."""
    newest = 0
    for _ in range(LOOKS):
        newest = max(_generations(folder), default=0)
        if not newest:
            return 0, ""
        try:
            return newest, (folder / str(newest)).read_text(errors="replace")
        except OSError:  # released, or taken over, since the look at the folder
            time.sleep(LOOK_SECONDS)
    raise StorageError(f"cannot read {folder / str(newest)}")


def _generations(folder: Path) -> list[int]:
    try:
        return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    except OSError:
        return []
