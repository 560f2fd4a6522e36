"""One suite's tables on the page, and the ids that tell its rows from those of other suites."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.catalogue import method_facts
from bench.errors import BadInput
from bench.report import Tables

UNKNOWN_FAMILY = "unknown"


@dataclass(frozen=True)
class Part:
    """Tables with the name of their suite. note: what the suite file says about itself."""

    name: str
    tables: Tables
    note: str = ""


def row_key(part: int, arm: str) -> str:
    """What the page calls a row: several suites may have one arm, with other planned seeds."""
    return f"{part}-{arm}"


def families(tables: Tables) -> dict[str, str]:
    """By arm the family of its method, read from source; "unknown" for a method that is not installed here."""
    rows = [row for cell in tables.study.cells for row in cell.rows]
    known = {name: _family(name) for name in {row.implementation for row in rows}}
    return {row.arm: known[row.implementation] for row in rows}


def _family(implementation: str) -> str:
    try:
        return method_facts(implementation).family
    except BadInput:
        return UNKNOWN_FAMILY
