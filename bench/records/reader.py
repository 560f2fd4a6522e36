"""Reading a record: what is intact is used, what is not is counted, nothing raises on damaged bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bench.records.errors import storage
from bench.records.line import decode, intact


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
    with storage("cannot read", path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
    numbered = [(number, raw) for number, raw in enumerate(content.split(b"\n"), start=1) if raw]
    return RawLines(numbered, content.endswith(b"\n") or not content)


def read_record(path: Path) -> Lines:
    """The intact lines of a record. A last line that lost only its newline is intact.

    Never raises on truncated or altered content; StorageError when the file exists but cannot be read.
    """
    raw = read_raw(path)
    lines: list[dict[str, Any]] = []
    damaged: list[int] = []
    torn = False
    for position, (number, text) in enumerate(raw.numbered, start=1):
        line = decode(text)
        if line is not None:
            lines.append(line)
        elif position == len(raw.numbered) and not raw.finished:
            torn = True
        else:
            damaged.append(number)
    return Lines(lines, torn, damaged)


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
