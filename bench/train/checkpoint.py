"""Checkpoints that are whole or absent, loaded without running anything that they contain."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.records.errors import storage

MAGIC = b"mixbench-checkpoint-1\n"


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, rename over it. StorageError (a full disk) leaves the old file as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with storage("cannot write", path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Tensors and plain values as one file that starts with a digest of itself."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(path, MAGIC + hashlib.blake2b(content, digest_size=32).digest() + content)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state with tensors on the CPU, or None when there is no file or it is cut short or altered in any byte."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    header = len(MAGIC) + 32
    content = raw[header:]
    if raw[: len(MAGIC)] != MAGIC or raw[len(MAGIC) : header] != hashlib.blake2b(content, digest_size=32).digest():
        return None
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
