"""The user's cache folder: files that can always be made again, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import BadInput

try:
    import fcntl
except ImportError:  # Windows: no lock, so two processes may do the same work twice
    fcntl = None

log = logging.getLogger("mixbench.data")


def cache_folder() -> Path:
    """`$MIXBENCH_CACHE`, or `~/.cache/mixbench`. It need not exist."""
    asked = os.environ.get("MIXBENCH_CACHE")
    try:
        return Path(asked).expanduser() if asked else Path.home() / ".cache" / "mixbench"
    except RuntimeError:
        raise BadInput("this user has no home folder; set MIXBENCH_CACHE to a folder for caches") from None


def short_hash(*parts: str) -> str:
    """32 hex digits that stand for some strings; different divisions into parts differ."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file under a temporary name in its folder, flush it to disk, then rename it. OSError as it comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in a cached JSON file; empty when it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Keep a JSON object in the cache; where that is impossible, one warning and no cache."""
    try:
        write_whole(path, lambda file: _dump(value, file))
    except OSError as error:
        log.warning("cannot write to the cache %s (%s); going on without it", path.parent, error.strerror or error)


def _dump(value: dict[str, Any], file: BinaryIO) -> None:
    file.write(json.dumps(value, separators=(",", ":")).encode("ascii"))


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file while building something, so that processes started together do the work once.

    The system drops the lock when its holder dies. Where locking is impossible nothing is held: results are
    renamed into place whole, so only time is lost.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError:
        yield
        return
    with file:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
