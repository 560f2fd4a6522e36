"""What tables and plans read of an evaluator's record, in short: so that each file is read once a command."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from bench.records.kept import content_digest
from bench.records.reader import read_lines
from bench.records.sharing import Shared, Told

_OF_BEGIN = ("digest", "source_digest", "others", "done")


class EvaluationSummary(NamedTuple):
    """begin: the last intact `begin` line without its time, {} without one. begins: of each what decides its numbers.

    end: the last intact line where that is an `end`. empty: there is no intact line. lost: a line after the last intact
    `begin` is damaged or torn; damage before it is what an earlier crash left, and whoever began again has recorded
    what it cost. measures: the metric lines without their values, the last one of each name and detail. values: theirs.
    digest: of the file's content.
    """

    begin: dict[str, Any]
    begins: list[dict[str, Any]]
    end: dict[str, Any] | None
    empty: bool
    lost: bool
    measures: list[dict[str, Any]]
    values: list[Any]
    digest: str

    @property
    def finished(self) -> bool:
        """Whether the record is complete and whole."""
        return self.end is not None and self.end.get("status") == "ok" and not self.lost

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metric lines (name, value, detail), last per name and detail."""
        return [{**line, "value": value} for line, value in zip(self.measures, self.values, strict=True)]

    def plain(self, shared: Shared) -> list[Any]:
        """JSON values for the index; what many runs have in common by its number."""
        return [
            shared.numbered(self.begin), shared.number(self.begins), self.end, self.empty, self.lost,
            shared.number(self.measures), self.values, self.digest,
        ]  # fmt: skip

    @staticmethod
    def from_plain(plain: list[Any], told: Told) -> EvaluationSummary:
        """The opposite of `plain`. told: what the numbers stand for."""
        begin, begins, end, empty, lost, measures, values, digest = plain
        return EvaluationSummary(
            told.whole(begin), told.one(begins), end, empty, lost, told.one(measures), values, digest
        )


def summarise_evaluation(content: bytes, shared: Shared) -> EvaluationSummary:
    """The summary of an evaluator's record's bytes; tolerates every kind of damage."""
    lines, _ = read_lines(content)
    begin: dict[str, Any] = {}
    begins: list[dict[str, Any]] = []
    metrics: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] = {}
    lost = False
    for line in lines:
        lost = lost or not line.intact
        if line.fields is None:
            continue
        last = line.fields
        if last["kind"] == "begin":
            begin, lost = last, False
            begins.append({name: begin[name] for name in _OF_BEGIN if name in begin})
        elif last["kind"] == "metric":
            key = json.dumps([last.get("name"), last.get("detail") or {}], sort_keys=True)
            metrics.pop(key, None)
            metrics[key] = last
    measures = [{name: item for name, item in line.items() if name != "value"} for line in metrics.values()]
    return EvaluationSummary(
        begin=shared.whole({name: item for name, item in begin.items() if name != "time"}),
        begins=shared.one(begins),
        end=last if last.get("kind") == "end" else None,
        empty=not last,
        lost=lost,
        measures=shared.one(measures),
        values=[line.get("value") for line in metrics.values()],
        digest=content_digest(content),
    )
