"""What tables, plans and states read of a training record, in short: so that each file is read once a command."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.records.kept import content_digest, kept_files
from bench.records.reader import read_lines
from bench.records.sharing import Shared, Told, mapping

_NOT_SHARED = ("run_id", "spec", "time")
_OF_LAST = ("test", "validation")


class TrainingSummary(NamedTuple):
    """run_id, spec: of the last intact `begin` or `resume` line, None and {} without one. begin: the rest of it but for
    its time, one mapping for all runs in which it is equal. end: the `end` line after it.

    torn, damaged: as `Lines` has them. epochs: how many there are. last: `test` and `validation` of the highest epoch.
    best_top1: the highest test top-1 of any epoch. epoch_seconds: median. parts: mean over epochs of each loss part
    that is a number. diagnostics, files: by name, the last line of a name counting. digest: of the file's content.
    """

    run_id: Any
    spec: dict[str, Any]
    begin: dict[str, Any]
    end: dict[str, Any] | None
    torn: bool
    damaged: tuple[int, ...]
    epochs: int
    last: dict[str, Any]
    best_top1: float | None
    epoch_seconds: float | None
    parts: dict[str, float]
    diagnostics: dict[str, Any]
    files: dict[str, str]
    digest: str

    def plain(self, shared: Shared) -> list[Any]:
        """JSON values for the index; what many runs have in common by its number."""
        row, seed = _parted(self.spec)
        return [
            self.run_id, shared.numbered(row), seed, shared.numbered(self.begin), self.end, self.torn,
            list(self.damaged), self.epochs, self.last, self.best_top1, self.epoch_seconds, self.parts,
            self.diagnostics, self.files, self.digest,
        ]  # fmt: skip

    @staticmethod
    def from_plain(plain: list[Any], told: Told) -> TrainingSummary:
        """The opposite of `plain`. told: what the numbers stand for."""
        run_id, row, seed, begin, end, torn, damaged, *rest = plain
        return TrainingSummary(run_id, {**told.whole(row), **seed}, told.whole(begin), end, torn, tuple(damaged), *rest)


def summarise_training(content: bytes, shared: Shared) -> TrainingSummary:
    """The summary of a training record's bytes; tolerates every kind of damage."""
    lines, finished = read_lines(content)
    begin: dict[str, Any] = {}
    end: dict[str, Any] | None = None
    usable = [line.fields for line in lines if line.fields is not None]
    for fields in usable:
        if fields["kind"] in ("begin", "resume"):
            begin, end = fields, None
        elif fields["kind"] == "end":
            end = fields
    damaged = [line.number for line in lines if not line.intact]
    torn = bool(damaged) and not finished and damaged[-1] == lines[-1].number
    ordered = list(epochs_of(usable).values())
    seconds = [float(one) for line in ordered if isinstance(one := line.get("seconds"), int | float)]
    row, seed = _parted(mapping(begin.get("spec")))
    return TrainingSummary(
        run_id=begin.get("run_id"),
        spec={**shared.whole(row), **seed},
        begin=shared.whole({name: value for name, value in begin.items() if name not in _NOT_SHARED}),
        end=end,
        torn=torn,
        damaged=tuple(damaged[:-1] if torn else damaged),
        epochs=len(ordered),
        last={name: ordered[-1][name] for name in _OF_LAST if name in ordered[-1]} if ordered else {},
        best_top1=max((top1 for line in ordered if (top1 := _top1(line)) is not None), default=None),
        epoch_seconds=statistics.median(seconds) if seconds else None,
        parts=_part_means(ordered),
        diagnostics={str(line.get("name")): line.get("value") for line in usable if line["kind"] == "diagnostic"},
        files=kept_files(usable),
        digest=content_digest(content),
    )


def epochs_of(lines: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Epoch lines by epoch number, in order; the last line of an epoch wins."""
    found = {line["epoch"]: line for line in lines if line["kind"] == "epoch" and isinstance(line.get("epoch"), int)}
    return dict(sorted(found.items()))


def _parted(spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A spec as what all runs of a table row share, and the seed, where it has one."""
    row = {name: value for name, value in spec.items() if name != "seed"}
    return row, {"seed": spec["seed"]} if "seed" in spec else {}


def _part_means(epochs: Iterable[dict[str, Any]]) -> dict[str, float]:
    told: dict[str, list[float]] = {}
    for line in epochs:
        for name, value in mapping(line.get("parts")).items():
            if isinstance(value, int | float):
                told.setdefault(name, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in told.items()}


def _top1(line: dict[str, Any]) -> float | None:
    """The test top-1 of an epoch line; None where it was not measured or is no finite number."""
    value = mapping(line.get("test")).get("top1")
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
