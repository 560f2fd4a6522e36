"""Runs that a folder of records is still to get: its planned.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import BadInput
from bench.records import read_record
from bench.records.line import encode
from bench.records.store import beside
from bench.spec import Spec

PLANNED_FILE = "planned.jsonl"
_KIND = "planned"


def announced(root: Path) -> list[Spec]:
    """The specs, data digest included, in the planned.jsonl of a folder of records; none where there is no such file.

    root: the folder of the records themselves. BadInput names the file where a line is damaged or no spec of its id.
    """
    path = beside(root, PLANNED_FILE)
    if not path.is_file():
        return []
    found = read_record(path)
    if found.torn or found.damaged:
        raise BadInput(f"{path}: has damaged lines; write it again with tools/publish_planned.py")
    return [_spec(path, place, line) for place, line in enumerate(found.lines, start=1)]


def announcement(specs: Iterable[dict[str, Any]]) -> bytes:
    """The file's text for plain specs, in their order."""
    return b"".join(encode(_KIND, {"run_id": _parsed(plain).run_id, "spec": plain}) for plain in specs)


def _parsed(plain: Any) -> Spec:
    return Spec.model_validate_json(json.dumps(plain))


def _spec(path: Path, place: int, line: dict[str, Any]) -> Spec:
    try:
        spec = _parsed(line.get("spec"))
    except ValidationError:
        raise BadInput(f"{path}: line {place} holds no spec that this version can read") from None
    if line["kind"] != _KIND or spec.data.digest is None or spec.run_id != line.get("run_id"):
        raise BadInput(f"{path}: line {place} is not a planned run with the id of its spec")
    return spec
