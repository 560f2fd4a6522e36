"""The files beside a record (weights, predictions): their digests stand in it, so that damage to them shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.records.errors import storage
from bench.records.reader import read_record


def file_facts(content: bytes) -> dict[str, Any]:
    """The fields `bytes` and `blake2b` (16 bytes, hex) of a `file` line."""
    return {"bytes": len(content), "blake2b": content_digest(content)}


def kept_files(lines: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Digest by name of the files that `file` lines tell of, the last line of a name counting."""
    return {
        str(line["name"]): str(line["blake2b"])
        for line in lines
        if line["kind"] == "file" and "name" in line and "blake2b" in line
    }


def recorded_files(train_file: Path) -> dict[str, str]:
    """`kept_files` of a training record; empty for records that are older than such lines."""
    return kept_files(read_record(train_file).lines)


def damage(path: Path, digest: str | None) -> str | None:
    """ "is missing" or "is damaged" for a file beside a record, None where it is whole.

    digest: what the record says of it; without one only its absence shows.
    """
    with storage("cannot read", path):
        try:
            content = path.read_bytes() if digest is not None else b""
        except FileNotFoundError:
            return "is missing"
    if digest is None:
        return None if path.is_file() else "is missing"
    return None if content_digest(content) == digest else "is damaged"


def content_digest(content: bytes) -> str:
    """BLAKE2b of 16 bytes, in hex."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
