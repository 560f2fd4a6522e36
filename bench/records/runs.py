"""What the attempts at one run have recorded, read lazily: the frame of a run at once, its numbers when asked for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bench.records.errors import storage
from bench.records.evaluation_summary import EvaluationSummary
from bench.records.reader import read_record
from bench.records.summaries import Summaries
from bench.records.training_summary import TrainingSummary, epochs_of

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
    training: what else tables read of the training record. summaries: where the run's other files are read.
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
    training: TrainingSummary = field(repr=False)
    summaries: Summaries = field(repr=False, compare=False)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The epoch lines in epoch order, of several for one epoch the last; read anew each time."""
        return list(epochs_of(read_record(self.folder / TRAIN_FILE).lines).values())

    @property
    def diagnostics(self) -> dict[str, Any]:
        """Diagnostic values by name; of several of one name the last."""
        return self.training.diagnostics

    def metrics(self, evaluator: str) -> list[dict[str, Any]]:
        """The metric lines (name, value, detail) of `evaluation`, last per name and detail."""
        return self.evaluation(evaluator).metrics

    def evaluation(self, evaluator: str) -> Evaluation:
        """What an evaluator's newest complete record holds, else its newest one; empty without any."""
        summary = self.evaluation_summary(evaluator)
        return Evaluation({}, []) if summary is None else Evaluation(summary.begin, summary.metrics)

    def evaluation_summary(self, evaluator: str) -> EvaluationSummary | None:
        """The summary of `evaluation_file` (read once); None without any."""
        if evaluator not in self._evaluated:
            file = self.evaluation_file(evaluator)
            self._evaluated[evaluator] = None if file is None else self.summary_of(file)
        return self._evaluated[evaluator]

    def summary_of(self, file: Path) -> EvaluationSummary:
        """The summary of one of `evaluations`, as the file was when it was first asked for."""
        if file not in self._summaries:
            self._summaries[file] = self.summaries.evaluation(str(file))
        return self._summaries[file]

    @cached_property
    def _evaluated(self) -> dict[str, EvaluationSummary | None]:
        return {}

    @cached_property
    def _summaries(self) -> dict[Path, EvaluationSummary]:
        return {}

    def evaluation_file(self, evaluator: str) -> Path | None:
        """The file that `evaluation` reads: the newest complete record, else the newest one."""
        files = self.evaluations.get(evaluator, [])
        for file in reversed(files):
            if self.summary_of(file).end is not None:
                return file
        return files[-1] if files else None

    @cached_property
    def evaluations(self) -> dict[str, list[Path]]:
        """The record files of each evaluator, oldest version first."""
        found: dict[str, list[tuple[list[tuple[int, int, str]], Path]]] = {}
        with storage("cannot read", self.folder):
            try:
                names = os.listdir(self.folder)  # noqa: PTH208 - a Path for each of 300,000 files takes seconds
            except (FileNotFoundError, NotADirectoryError):
                names = []
        for file in names:
            if file.startswith("eval-") and file.endswith(".jsonl"):
                name, _, version = file[len("eval-") : -len(".jsonl")].rpartition("-")
                found.setdefault(name, []).append((_version_key(version), self.folder / file))
        return {name: [path for _, path in sorted(files)] for name, files in sorted(found.items())}

    @property
    def predictions(self) -> Path | None:
        """The per-image predictions of the last epoch, where they were kept and are whole."""
        return self.folder / PREDICTIONS_FILE if self.file_problem(PREDICTIONS_FILE) is None else None

    @property
    def files(self) -> dict[str, str]:
        """Digest by name of the files beside the record; empty in records that are older than such lines."""
        return self.training.files

    def file_problem(self, name: str) -> str | None:
        """ "is missing" or "is damaged" for a file beside the record (PREDICTIONS_FILE, WEIGHTS_FILE, ...)."""
        recorded = self.files.get(name)
        if recorded is None:
            return None if (self.folder / name).is_file() else "is missing"
        digest = self.summaries.digest(f"{self.folder}/{name}")
        return "is missing" if digest is None else None if digest == recorded else "is damaged"


def evaluation_file(folder: Path, name: str, version: str) -> Path:
    """Where an evaluator of this name and version writes its metrics inside an attempt."""
    return folder / evaluation_name(name, version)


def evaluation_name(name: str, version: str) -> str:
    """The name of that file."""
    return f"eval-{name}-{version}.jsonl"


def _version_key(version: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"[.]", version)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
