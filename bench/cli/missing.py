"""The closing list of what a suite still lacks."""

from __future__ import annotations

from typing import TextIO

from bench.errors import EXIT_FINE, EXIT_INCOMPLETE
from bench.sweep.todo import Todo


def exit_code(missing: list[Todo], out: TextIO) -> int:
    """0 when nothing is missing; else 3, after naming each missing run and its reason."""
    if not missing:
        return EXIT_FINE
    print(f"\n{len(missing)} run(s) missing:", file=out)
    for item in missing:
        record = item.record
        status = record.status if record is not None else "not started"
        reason = f", {record.reason}" if record is not None and record.reason else ""
        why = item.why if item.need != "nothing" and status in ("ok", "skipped") else status + reason
        print(f"  {item.name}: {why}", file=out)
    return EXIT_INCOMPLETE
