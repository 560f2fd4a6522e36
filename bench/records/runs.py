"""What the attempts at one run have recorded, read lazily: the frame of a run at once, its numbers when asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bench.records.kept import damage, kept_files
from bench.records.reader import read_record

SCHEMA = 1
"""Version of the meaning of the lines; written into every `begin`."""
STATUSES = ("ok", "diverged", "oom", "timeout", "error", "interrupted", "skipped")
"""How a run can end. A run without an end has the status "incomplete"."""
TRAIN_FILE = "train.jsonl"
PREDICTIONS_FILE = "predictions.npz"
CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "weights.safetensors"
METHOD_FILE = "method.safetensors"
BEST_FILE = "best.safetensors"


class Evaluation(NamedTuple):
    """One evaluator's record of one run: its begin line ({} when there is none) and its metric lines."""

    begin: dict[str, Any]
    metrics: list[dict[str, Any]]


@dataclass(frozen=True)
class RunRecord:
    """One run as its deciding attempt recorded it.

    attempt: folder name of the deciding attempt: the newest that ended ok, else the newest. attempts: names of all
    different attempts, oldest first. spec: `Spec.model_dump(mode="json")`. status: one of STATUSES, or "incomplete"
    when there is no end. planned: the seeds planned for the run's table row. torn, damaged: as `Lines` has them.
    """

    run_id: str
    attempt: str
    attempts: tuple[str, ...]
    folder: Path
    schema: int
    spec: dict[str, Any]
    labels: dict[str, str]
    provenance: dict[str, Any]
    source_digest: str
    planned: tuple[int, ...]
    status: str
    reason: str
    seconds: float | None
    torn: bool
    damaged: tuple[int, ...]

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """The epoch lines in epoch order; of several for one epoch the last."""
        return list(epochs_of(self._lines).values())

    @cached_property
    def diagnostics(self) -> dict[str, Any]:
        """Diagnostic values by name; of several of one name the last."""
        return {str(line.get("name")): line.get("value") for line in self._lines if line["kind"] == "diagnostic"}

    def metrics(self, evaluator: str) -> list[dict[str, Any]]:
        """The metric lines (name, value, detail) of `evaluation`, last per name and detail."""
        return self.evaluation(evaluator).metrics

    def evaluation(self, evaluator: str) -> Evaluation:
        """What an evaluator's newest complete record holds, else its newest one (read once); empty without any."""
        if evaluator not in self._evaluated:
            self._evaluated[evaluator] = self._evaluation(evaluator)
        return self._evaluated[evaluator]

    @cached_property
    def _evaluated(self) -> dict[str, Evaluation]:
        return {}

    def _evaluation(self, evaluator: str) -> Evaluation:
        file = self.evaluation_file(evaluator)
        return _evaluated(read_record(file).lines) if file is not None else Evaluation({}, [])

    def evaluation_file(self, evaluator: str) -> Path | None:
        """The file that `evaluation` reads: the newest complete record, else the newest one."""
        files = self.evaluations.get(evaluator, [])
        for file in reversed(files):
            lines = read_record(file).lines
            if lines and lines[-1]["kind"] == "end":
                return file
        return files[-1] if files else None

    @cached_property
    def evaluations(self) -> dict[str, list[Path]]:
        """The record files of each evaluator, oldest version first."""
        found: dict[str, list[tuple[list[tuple[int, int, str]], Path]]] = {}
        for path in self.folder.glob("eval-*.jsonl"):
            name, _, version = path.stem.removeprefix("eval-").rpartition("-")
            found.setdefault(name, []).append((_version_key(version), path))
        return {name: [path for _, path in sorted(files)] for name, files in sorted(found.items())}

    @property
    def predictions(self) -> Path | None:
        """The per-image predictions of the last epoch, where they were kept and are whole."""
        return self.folder / PREDICTIONS_FILE if self.file_problem(PREDICTIONS_FILE) is None else None

    @cached_property
    def files(self) -> dict[str, str]:
        """Digest by name of the files beside the record; empty in records that are older than such lines."""
        return kept_files(self._lines)

    def file_problem(self, name: str) -> str | None:
        """ "is missing" or "is damaged" for a file beside the record (PREDICTIONS_FILE, WEIGHTS_FILE, ...)."""
        return damage(self.folder / name, self.files.get(name))

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return read_record(self.folder / TRAIN_FILE).lines


def _evaluated(lines: list[dict[str, Any]]) -> Evaluation:
    begin: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["kind"] == "begin":
            begin = line
        elif line["kind"] == "metric":
            key = json.dumps([line.get("name"), line.get("detail") or {}], sort_keys=True)
            found.pop(key, None)
            found[key] = line
    return Evaluation(begin, list(found.values()))


def evaluation_file(folder: Path, name: str, version: str) -> Path:
    """Where an evaluator of this name and version writes its metrics inside an attempt."""
    return folder / f"eval-{name}-{version}.jsonl"


def epochs_of(lines: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Epoch lines by epoch number, in order; the last line of an epoch wins."""
    found = {line["epoch"]: line for line in lines if line["kind"] == "epoch" and isinstance(line.get("epoch"), int)}
    return dict(sorted(found.items()))


def _version_key(version: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"[.]", version)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
