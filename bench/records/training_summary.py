"""What tables, plans and states read of a training record, in short: so that each file is read once a command."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records.kept import content_digest, kept_files
from bench.records.reader import read_lines
from bench.records.sharing import Shared, mapping, restored


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """begin: the last intact `begin` or `resume` line without its time, {} without one. end: the `end` line after it.

    torn, damaged: as `Lines` has them. epochs: how many there are. last: the line of the highest epoch, {} without any.
    best_top1: the highest test top-1 of any epoch. epoch_seconds: median. parts: mean over epochs of each loss part
    that is a number. diagnostics, files: by name, the last line of a name counting. digest: of the file's content.
    """

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
        spec = self.begin.get("spec")
        begin = {name: value for name, value in self.begin.items() if name != "spec" or not isinstance(spec, dict)}
        return [
            shared.numbered(begin), shared.numbered(mapping(spec)) if isinstance(spec, dict) else None, self.end,
            self.torn, list(self.damaged), self.epochs, self.last, self.best_top1, self.epoch_seconds, self.parts,
            self.diagnostics, self.files, self.digest,
        ]  # fmt: skip

    @staticmethod
    def from_plain(plain: list[Any], values: Sequence[Any]) -> TrainingSummary:
        """The opposite of `plain`. values: what the numbers stand for."""
        begin, spec, end, torn, damaged, *rest = plain
        whole = restored(begin, values) | ({} if spec is None else {"spec": restored(spec, values)})
        return TrainingSummary(whole, end, torn, tuple(damaged), *rest)


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
    return TrainingSummary(
        begin=_shared_begin(begin, shared),
        end=end,
        torn=torn,
        damaged=tuple(damaged[:-1] if torn else damaged),
        epochs=len(ordered),
        last=ordered[-1] if ordered else {},
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


def _shared_begin(begin: dict[str, Any], shared: Shared) -> dict[str, Any]:
    known = shared.sections({name: value for name, value in begin.items() if name not in ("spec", "time")})
    if "spec" in begin:
        spec = begin["spec"]
        known["spec"] = shared.sections(mapping(spec)) if isinstance(spec, dict) else spec
    return known


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
