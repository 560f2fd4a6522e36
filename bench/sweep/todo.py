"""What of a suite is done, and what each other run still needs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bench.evals
from bench.config.catalogue import method_facts
from bench.config.suite import Suite
from bench.data.facts import describe
from bench.evals.registry import EvalArm, read_arm
from bench.records import CHECKPOINT_FILE, RunRecord, Store, evaluation_file, read_record
from bench.records.attempt import deciding
from bench.sources import file_source_digest, method_source_digest
from bench.spec import DataSpec, Spec

FINAL = ("ok", "skipped", "diverged")
"""Endings that would come out the same again; a run with another ending is done again."""


@dataclass
class Todo:
    """One planned run. need: "nothing", "evaluate", "train" or "resume". why: for people.

    record: its deciding attempt with the current source, else with an older one.
    """

    spec: Spec
    title: str
    source_digest: str
    seeds: list[int]
    need: str
    why: str
    record: RunRecord | None = None
    folder: Path | None = None
    """Where training continues or evaluation takes place; None for a new attempt."""
    evals: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def name(self) -> str:
        """The run in a person's words."""
        labels = self.spec.labels
        return f"{labels.method} seed {self.spec.seed} ({labels.data}, {labels.backbone}, {labels.protocol})"


def with_digests(suite: Suite) -> list[tuple[Spec, str]]:
    """The suite's specs with the digest of their data, and their titles. BadInput when data are missing."""
    found: dict[DataSpec, str] = {}
    specs: list[tuple[Spec, str]] = []
    for planned in suite.planned:
        data = planned.spec.data
        if data not in found:
            found[data] = describe(data).digest
        complete = data.model_copy(update={"digest": found[data]})
        specs.append((planned.spec.model_copy(update={"data": complete}), planned.title))
    return specs


def read_evals(suite: Suite) -> list[EvalArm]:
    """The suite's evaluators with their settings."""
    return [read_arm(suite.folders.get("eval", name, "evals")) for name in suite.evals]


def find_todo(suite: Suite, store: Store) -> list[Todo]:
    """Every planned run with what it still needs."""
    arms = read_evals(suite)
    specs = with_digests(suite)
    seeds: dict[str, list[int]] = defaultdict(list)
    for spec, _ in specs:
        seeds[spec.arm].append(spec.seed)
    return [_todo(spec, title, seeds[spec.arm], arms, store) for spec, title in specs]


def _todo(spec: Spec, title: str, seeds: list[int], arms: list[EvalArm], store: Store) -> Todo:
    digest = method_source_digest(method_facts(spec.method.implementation).path)
    attempts = [attempt for attempt in store.attempts(spec.run_id) if attempt.spec]
    current = [attempt for attempt in attempts if attempt.source_digest == digest]
    record = deciding(current or attempts) if attempts else None
    todo = Todo(spec, title, digest, seeds, "train", "new", record)
    if record is None:
        return todo
    if not current:
        todo.why = "stale: its source changed since"
    elif record.status not in FINAL:
        todo.why = f"{record.status} before" if record.status != "incomplete" else "stopped before its end"
        if (current[-1].folder / CHECKPOINT_FILE).is_file():
            todo.need, todo.folder = "resume", current[-1].folder
    else:
        todo.folder = record.folder
        todo.evals = evaluations_todo(arms, record.folder) if record.status == "ok" else []
        todo.need = "evaluate" if todo.evals else "nothing"
        todo.why = "evaluations missing" if todo.evals else "done"
    return todo


def evaluations_todo(arms: list[EvalArm], folder: Path) -> list[dict[str, Any]]:
    """The evaluators that an attempt's folder has no complete, current record of, each with the file to write."""
    missing: list[dict[str, Any]] = []
    for arm in arms:
        source = file_source_digest(Path(bench.evals.__path__[0]) / f"{arm.evaluator}.py")
        version, number = arm.version, 1
        while True:
            file = evaluation_file(folder, arm.name, version if number == 1 else f"{version}.{number}")
            lines = read_record(file).lines
            begins = [line for line in lines if line["kind"] == "begin"]
            current = all(line["digest"] == arm.digest and line["source_digest"] == source for line in begins)
            newer = evaluation_file(folder, arm.name, f"{version}.{number + 1}").is_file()
            if current and not newer:
                break
            number += 1
        if not (lines and lines[-1]["kind"] == "end" and lines[-1]["status"] == "ok"):
            plain = {"name": arm.name, "title": arm.title, "evaluator": arm.evaluator}
            plain |= {"version": arm.version, "settings": arm.settings}
            missing.append({"arm": plain, "file": str(file), "source_digest": source})
    return missing
