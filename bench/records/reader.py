"""Reading a record: what is intact is used, what is not is counted, nothing raises on damaged bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bench.records.errors import storage
from bench.records.line import decode, decode_at, intact


class Lines(NamedTuple):
    """What a record file holds."""

    lines: list[dict[str, Any]]
    """The intact lines in file order, each a dict with `kind` and its fields."""
    torn: bool
    """Whether the file ends in an unfinished line, as a crash or a full disk leaves it."""
    damaged: list[int]
    """Line numbers (from 1) of finished lines whose text and checksum disagree."""


class RawLines(NamedTuple):
    """The lines of a file as bytes (empty ones left out) with their numbers; the last may lack its newline."""

    numbered: list[tuple[int, bytes]]
    finished: bool
    """Whether the file ends in a newline (or is empty)."""


def read_raw(path: Path) -> RawLines:
    """Split a file into lines; a file that does not exist has none. Raises StorageError when it cannot be read."""
    content = read_bytes(path)
    numbered = [(number, raw) for number, raw in enumerate(content.split(b"\n"), start=1) if raw]
    return RawLines(numbered, content.endswith(b"\n") or not content)


class Line(NamedTuple):
    """A line that is not empty, and its number from 1. intact: text and checksum agree. fields: None where it is not
    one object with a kind."""

    number: int
    intact: bool
    fields: dict[str, Any] | None


def read_lines(content: bytes) -> tuple[list[Line], bool]:
    """All lines of a record's bytes, and whether it ends in a newline or is empty."""
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    lines: list[Line] = []
    start = 0
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if raw:
            sound = intact(raw)
            fields = decode_at(text, start, start + len(raw)) if sound and text else None
            lines.append(Line(number, sound, decode(raw) if sound and fields is None else fields))
        start += len(raw) + 1
    return lines, content.endswith(b"\n") or not content


def read_bytes(path: Path | str) -> bytes:
    """A file's content; empty where there is none. Raises StorageError when it cannot be read."""
    with storage("cannot read", path):
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return b""


def read_record(path: Path) -> Lines:
    """The intact lines of a record. A last line that lost only its newline is intact.

    Never raises on truncated or altered content; StorageError when the file exists but cannot be read.
    """
    lines, finished = read_lines(read_bytes(path))
    damaged = [line.number for line in lines if line.fields is None]
    torn = bool(damaged) and not finished and damaged[-1] == lines[-1].number
    return Lines([line.fields for line in lines if line.fields is not None], torn, damaged[:-1] if torn else damaged)


def damaged_since_begin(path: Path) -> bool:
    """Whether a line after the last intact `begin` is damaged or torn: a finished record that may lack a number.

    Damage before it is what an earlier crash left; whoever began again has recorded what it cost.
    """
    damaged = False
    for _, text in read_raw(path).numbered:
        if not intact(text):
            damaged = True
        elif b'"kind":"begin"' in text and (line := decode(text)) is not None and line["kind"] == "begin":
            damaged = False
    return damaged
