"""What the begin line of an attempt says besides run id and spec."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from bench.records.sharing import mapping


class Begin(NamedTuple):
    """The line's fields, checked. planned: the seeds planned for the run's table row. line: the line itself."""

    schema: int
    labels: dict[str, str]
    provenance: dict[str, Any]
    source_digest: str
    planned: tuple[int, ...]
    line: dict[str, Any]


def checked(line: dict[str, Any]) -> Begin:
    """The fields of a begin line, {} included; 0, "" or empty where one is missing or of another kind."""
    return Begin(
        schema=line["schema"] if isinstance(line.get("schema"), int) else 0,
        labels={name: str(value) for name, value in mapping(line.get("labels")).items()},
        provenance=mapping(line.get("provenance")),
        source_digest=str(line.get("source_digest") or ""),
        planned=_seeds(line.get("planned")),
        line=line,
    )


def _seeds(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(seed for seed in cast("list[Any]", value) if isinstance(seed, int))
