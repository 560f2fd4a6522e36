"""What the attempts at one run have recorded, read lazily: the frame of a run at once, its numbers when asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bench.records.begin import Begin
from bench.records.evaluation_summary import EvaluationSummary
from bench.records.evaluations import Evaluations, evaluation_name
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
    different attempts, oldest first. where: path of the deciding one's folder. status: one of STATUSES, or "incomplete"
    when there is no end. training: what else tables read of the training record. summaries: where the run's other files
    are read.
    """

    run_id: str
    attempt: str
    attempts: tuple[str, ...]
    where: str
    begin: Begin = field(repr=False)
    status: str
    reason: str
    training: TrainingSummary = field(repr=False)
    summaries: Summaries = field(repr=False, compare=False)

    @cached_property
    def folder(self) -> Path:
        """`where` as a path."""
        return Path(self.where)

    @property
    def spec(self) -> dict[str, Any]:
        """`Spec.model_dump(mode="json")`; {} where the record does not say."""
        return self.training.spec

    @property
    def schema(self) -> int:
        """Version of the meaning of the lines; 0 where the record does not say."""
        return self.begin.schema

    @property
    def labels(self) -> dict[str, str]:
        """Names of the run's configs."""
        return self.begin.labels

    @property
    def provenance(self) -> dict[str, Any]:
        """Machine, code and packages."""
        return self.begin.provenance

    @property
    def source_digest(self) -> str:
        """Digest of the code that decided the run's numbers."""
        return self.begin.source_digest

    @property
    def planned(self) -> tuple[int, ...]:
        """The seeds planned for the run's table row."""
        return self.begin.planned

    @property
    def seconds(self) -> float | None:
        """How long the attempt took, as its end says."""
        return self.training.end.get("seconds") if self.training.end else None

    @property
    def torn(self) -> bool:
        """As `Lines` has it."""
        return self.training.torn

    @property
    def damaged(self) -> tuple[int, ...]:
        """As `Lines` has it."""
        return self.training.damaged

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
        return self.evaluated.deciding(evaluator)[1]

    def evaluation_file(self, evaluator: str) -> Path | None:
        """The file that `evaluation` reads: the newest complete record, else the newest one."""
        file = self.evaluated.deciding(evaluator)[0]
        return None if file is None else self.folder / file

    @cached_property
    def evaluated(self) -> Evaluations:
        """The evaluators' records in the attempt's folder."""
        return Evaluations(self.where, self.summaries)

    @property
    def evaluations(self) -> dict[str, list[Path]]:
        """The record files of each evaluator, oldest version first."""
        return {name: [self.folder / file for file in files] for name, files in self.evaluated.names.items()}

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
        digest = self.summaries.digest(f"{self.where}{os.sep}{name}")
        return "is missing" if digest is None else None if digest == recorded else "is damaged"


def evaluation_file(folder: Path, name: str, version: str) -> Path:
    """Where an evaluator of this name and version writes its metrics inside an attempt."""
    return folder / evaluation_name(name, version)
