"""Under which protocol and with what the numbers of a cell were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.records import RunRecord
from bench.report import Tables
from bench.report.study import Cell

_SHORT = 10
_LEFT_OUT = {"exceptions", "root", "workers"}


@dataclass(frozen=True)
class CellFacts:
    """groups: a heading and its (name, value) pairs, in order. ok, planned: how many runs."""

    title: str
    ok: int
    planned: int
    groups: list[tuple[str, list[tuple[str, str]]]]
    exceptions: list[str]


def cell_facts(tables: Tables) -> list[CellFacts]:
    """The facts of every cell, from its records alone."""
    return [_facts(cell) for cell in tables.study.cells]


def _facts(cell: Cell) -> CellFacts:
    runs = [run for row in cell.rows for _, run in sorted(row.runs.items()) if run is not None]
    spec: dict[str, Any] = runs[0].spec if runs else {}
    groups = [
        ("Data", _pairs(spec.get("data"))),
        ("Backbone", _pairs(spec.get("backbone"))),
        ("Protocol", _pairs(spec.get("protocol"))),
        ("Made with", _provenance(runs)),
    ]
    exceptions = [
        f"{row.name}: {', '.join(f'{key} = {value}' for key, value in sorted(one.set.items()))} ({one.reason})"
        for row in cell.rows
        for one in row.exceptions
    ]
    ok, planned = (sum(counts) for counts in zip(*((len(row.ok), len(row.runs)) for row in cell.rows), strict=True))
    return CellFacts(cell.title, ok, planned, [(name, pairs) for name, pairs in groups if pairs], exceptions)


def _pairs(section: Any) -> list[tuple[str, str]]:
    if not isinstance(section, dict):
        return []
    return [
        (str(name).replace("_", " "), _text(value))
        for name, value in section.items()
        if name not in _LEFT_OUT and value not in (None, "", [], {}, False)
    ]  # fmt: skip


def _provenance(runs: list[RunRecord]) -> list[tuple[str, str]]:
    """Every value that differs between runs is listed with how many runs have it."""
    found: dict[str, dict[str, int]] = {}
    for run in runs:
        flat = {**run.provenance, **_packages(run)}
        flat["source digest"] = run.source_digest
        for name, value in flat.items():
            if value is not None and not isinstance(value, dict | list):
                counts = found.setdefault(str(name).replace("_", " "), {})
                text = str(value)[:_SHORT] if name == "git_commit" else str(value)
                counts[text] = counts.get(text, 0) + 1
    return [(name, _counted(counts, len(runs))) for name, counts in found.items()]


def _packages(run: RunRecord) -> dict[str, Any]:
    packages = run.provenance.get("packages")
    return dict(packages) if isinstance(packages, dict) else {}


def _counted(counts: dict[str, int], runs: int) -> str:
    if len(counts) == 1 and sum(counts.values()) == runs:
        return next(iter(counts))
    return ", ".join(f"{text} ({count} of {runs} runs)" for text, count in sorted(counts.items()))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
