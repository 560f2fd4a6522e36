"""One line of a record: canonical JSON with a checksum of its own text at the end."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

RESERVED = ("crc", "kind", "nonfinite")
_MARK = b',"crc":"'
_TAIL = len(_MARK) + 8 + len(b'"}')
_DECODER = json.JSONDecoder()


def encode(kind: str, fields: Mapping[str, Any]) -> bytes:
    """One line, ending in a newline: sorted keys, ASCII, and as last key the CRC-32 of all text before `,"crc"`.

    NaN and infinities are no JSON: such a value is written as null, and `nonfinite` maps its dotted path to "nan",
    "inf" or "-inf". So every reader sees a missing number, and what it was is still told. Zero-dimensional arrays
    and tensors are written as numbers. Raises ValueError for a reserved field name, TypeError for other objects.
    """
    for name in RESERVED:
        if name in fields:
            raise ValueError(f"'{name}' is a reserved field of a record line")
    nonfinite: dict[str, str] = {}
    plain: dict[str, Any] = {"kind": kind}
    for name, value in fields.items():
        plain[name] = _plain(value, name, nonfinite)
    if nonfinite:
        plain["nonfinite"] = nonfinite
    return sealed(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode())


def sealed(text: bytes) -> bytes:
    """The JSON text of an object as a line, with the checksum as its last key."""
    body = text[:-1]
    return body + _MARK + _checksum(body) + b'"}\n'


def intact(raw: bytes) -> bool:
    """Whether a line (without its newline) carries the checksum of its own text."""
    body = raw[:-_TAIL]
    return raw[-_TAIL:] == b'%s%08x"}' % (_MARK, zlib.crc32(body))


def decode(raw: bytes) -> dict[str, Any] | None:
    """The fields of a line without its checksum; None when the text and its checksum disagree."""
    if not intact(raw):
        return None
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    line = cast("dict[str, Any]", fields)
    if not isinstance(line.get("kind"), str):
        return None
    del line["crc"]
    return line


def decode_at(text: str, start: int, stop: int) -> dict[str, Any] | None:
    """`decode` of an intact line that is part of a longer text; None where it is not one object in plain form."""
    try:
        fields, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if end != stop or not isinstance(fields, dict):
        return None
    line = cast("dict[str, Any]", fields)
    if not isinstance(line.get("kind"), str):
        return None
    del line["crc"]
    return line


def _checksum(body: bytes) -> bytes:
    return b"%08x" % zlib.crc32(body)


def _plain(value: Any, path: str, nonfinite: dict[str, str]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        nonfinite[path] = str(value)
        return None
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        return {str(key): _plain(item, f"{path}.{key}", nonfinite) for key, item in entries.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        items = cast("Sequence[Any]", value)
        return [_plain(item, f"{path}.{index}", nonfinite) for index, item in enumerate(items)]
    scalar: Any = value
    if getattr(scalar, "ndim", None) == 0:
        return _plain(scalar.item(), path, nonfinite)
    raise TypeError(f"{path}: a record line holds JSON values, not {type(value).__name__}")
