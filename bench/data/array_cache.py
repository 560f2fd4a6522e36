"""Decoded images kept as memory-mapped .npy files in the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.cache import cache_folder, lock, log, read_json, write_json, write_whole


def cached_array(key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array kept under `key`, built and kept when there is none or when what is there is damaged.

    A kept file is recognised as whole by its size and time of change, noted beside it when it was written; when only
    the time differs its content is hashed and compared. The result is memory-mapped copy-on-write: writing into it
    changes neither the file nor another process's view. Without room or permission in the cache folder there is one
    warning and the array stays in memory.
    """
    path = cache_folder() / "arrays" / f"{key}.npy"
    kept = _whole(path)
    if kept is not None:
        return kept
    with lock(path.with_suffix(".lock")):
        kept = _whole(path)
        return kept if kept is not None else _keep(path, build())


def _keep(path: Path, array: np.ndarray) -> np.ndarray:
    try:
        for leftover in path.parent.glob(f".{path.name}.*"):  # of a process that was killed while writing
            leftover.unlink(missing_ok=True)
        write_whole(path, lambda file: np.save(file, array, allow_pickle=False))
        write_json(_note(path), {**_stamp(path), "digest": _digest(path)})
    except OSError as error:
        reason = error.strerror or str(error)
        log.warning("cannot keep decoded images in %s (%s); they stay in memory only", path.parent, reason)
        return array
    kept = _whole(path)
    return array if kept is None else kept


def _whole(path: Path) -> np.ndarray | None:
    note = read_json(_note(path))
    try:
        stamp = _stamp(path)
        if stamp["size"] != note.get("size"):
            return None
        if stamp["modified"] != note.get("modified"):
            if _digest(path) != note.get("digest"):
                log.warning("%s was damaged and is made again", path)
                return None
            write_json(_note(path), {**note, **stamp})
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "modified": status.st_mtime_ns}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
