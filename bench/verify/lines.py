"""The lines of a record, each with its number: checksum, JSON, canonical form, and values read with care."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

from bench.records.line import decode, encode, intact
from bench.records.reader import read_raw
from bench.verify.problem import Problem

LONGEST_LINE = 4 * 2**20


class Line(NamedTuple):
    """An intact line."""

    number: int
    fields: dict[str, Any]

    @property
    def kind(self) -> str:
        """What the line is."""
        return str(self.fields["kind"])

    def inside(self, name: str) -> dict[str, Any]:
        """An object within the line; empty where it is null, absent or something else."""
        return mapping(self.fields.get(name))


@dataclass(frozen=True)
class RecordFile:
    """One file of lines. name: as problems call it. problems: lines that cannot be used."""

    name: str
    lines: list[Line]
    problems: list[Problem]

    def problem(self, line: Line | None, text: str) -> Problem:
        """A problem of one of the lines, or of the whole file."""
        return Problem(self.name, None if line is None else line.number, text)

    def of(self, *kinds: str) -> list[Line]:
        """The lines of these kinds."""
        return [line for line in self.lines if line.kind in kinds]


def read_lines(path: Path, name: str) -> RecordFile:
    """All intact lines of a file, and a problem for every other one."""
    raw = read_raw(path)
    lines: list[Line] = []
    problems: list[Problem] = []
    for number, text in raw.numbered:
        fields = decode(text) if len(text) <= LONGEST_LINE else None
        if fields is not None and _again(fields) == text:
            lines.append(Line(number, fields))
        else:
            problems.append(Problem(name, number, _fault(text)))
    if not raw.finished:
        problems.append(Problem(name, raw.numbered[-1][0], "ends inside a line"))
    return RecordFile(name, lines, problems)


def _fault(text: bytes) -> str:
    if len(text) > LONGEST_LINE:
        return f"the line has more than {LONGEST_LINE} bytes"
    if not intact(text):
        return "text and checksum disagree"
    return "is not one JSON object in the form that mixbench writes"


def _again(fields: dict[str, Any]) -> bytes | None:
    """The line that these fields would be written as: repeated keys and other spellings do not survive it."""
    rest = {key: value for key, value in fields.items() if key not in ("kind", "nonfinite")}
    try:
        written = encode(fields["kind"], rest | _infinities(fields, rest))
    except (ValueError, RecursionError):
        return None
    return written[:-1]


def _infinities(fields: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Top-level entries with the numbers put back that JSON cannot hold."""
    changed: dict[str, Any] = {}
    for path, text in mapping(fields.get("nonfinite")).items():
        if text not in ("nan", "inf", "-inf"):
            raise ValueError(path)
        first = next((key for key in rest if path == key or path.startswith(f"{key}.")), None)
        if first is None:
            raise ValueError(path)
        changed[first] = _put(changed.get(first, rest[first]), path[len(first) + 1 :], float(text))
    return changed


def _put(value: Any, path: str, number: float) -> Any:
    """A copy of plain JSON with the null at a dotted path replaced."""
    if not path:
        if value is not None:
            raise ValueError("a number that is no number must be null")
        return number
    if isinstance(value, list):
        items = cast("list[Any]", value)
        place, _, deeper = path.partition(".")
        return [_put(one, deeper, number) if str(index) == place else one for index, one in enumerate(items)]
    entries = mapping(value)
    key = next((key for key in entries if path == key or path.startswith(f"{key}.")), None)
    if key is None:
        raise ValueError(path)
    return {**entries, key: _put(entries[key], path[len(key) + 1 :], number)}


def mapping(value: Any) -> dict[str, Any]:
    """An object; empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def whole(value: Any) -> int | None:
    """A whole number that is no truth value."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def finite(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None
    return None


def outside(value: Any, low: float, high: float) -> bool:
    """Whether something is no number within [low, high]."""
    number = finite(value)
    return number is None or not low <= number <= high


def unexpected(file: RecordFile, kinds: tuple[str, ...]) -> Iterator[Problem]:
    """A problem for each line of another kind."""
    for line in file.lines:
        if line.kind not in kinds:
            yield file.problem(line, f"a line of the kind '{line.kind}' does not belong here")
