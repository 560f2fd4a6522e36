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

TRAINED_ELSEWHERE = "trained elsewhere"
"""Stands for the source digest of a network that came from a checkpoint file."""
FINAL = ("ok", "skipped", "diverged")
"""Endings that would come out the same again; a run with another ending is done again."""


Others = dict[str, dict[str, Any]]
"""By method label: run_id, folder and spec of a finished run."""


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
    others: Others = field(default_factory=dict[str, "dict[str, Any]"])
    """Finished runs of the same cell with another seed, by method label, for evaluators that want them."""

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
    items = [_todo(spec, title, seeds[spec.arm], store) for spec, title in specs]
    wanted = sorted({name for arm in arms for name in arm.needs})
    for item in items:
        item.others = {name: other for name in wanted if (other := _other(name, item, items)) is not None}
        if item.need == "nothing" and item.record is not None and item.record.status == "ok" and item.folder:
            item.evals = evaluations_todo(arms, item.folder, item.others)
            if item.evals:
                item.need, item.why = "evaluate", "evaluations missing"
    return items


def _other(name: str, item: Todo, items: list[Todo]) -> dict[str, Any] | None:
    """The finished run of a method with the lowest seed that is not the item's own."""
    found = [
        other
        for other in items
        if other.spec.labels.method == name
        and other.spec.seed != item.spec.seed
        and other.spec.cell == item.spec.cell
        and other.need in ("nothing", "evaluate")
        and other.record is not None
        and other.record.status == "ok"
    ]
    if not found:
        return None
    chosen = min(found, key=lambda other: other.spec.seed)
    return {"run_id": chosen.spec.run_id, "folder": str(chosen.folder), "spec": chosen.spec.model_dump(mode="json")}


def _todo(spec: Spec, title: str, seeds: list[int], store: Store) -> Todo:
    digest = run_source_digest(spec)
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
        todo.need, todo.why = "nothing", "done"
    return todo


def run_source_digest(spec: Spec) -> str:
    """Digest of the code that decides a run's numbers; of a network trained elsewhere there is none."""
    if spec.protocol.trained_elsewhere:
        return TRAINED_ELSEWHERE
    return method_source_digest(method_facts(spec.method.implementation).path)


def evaluations_todo(arms: list[EvalArm], folder: Path, others: Others) -> list[dict[str, Any]]:
    """The evaluators that an attempt's folder has no complete, current record of, each with the file to write."""
    missing: list[dict[str, Any]] = []
    for arm in arms:
        source = file_source_digest(Path(bench.evals.__path__[0]) / f"{arm.evaluator}.py")
        version, number = arm.version, 1
        used = {name: others[name] for name in arm.needs if name in others}
        ids = {name: other["run_id"] for name, other in used.items()}
        while True:
            file = evaluation_file(folder, arm.name, version if number == 1 else f"{version}.{number}")
            lines = read_record(file).lines
            begins = [line for line in lines if line["kind"] == "begin"]
            current = all(
                line["digest"] == arm.digest and line["source_digest"] == source and line.get("others", {}) == ids
                for line in begins
            )
            newer = evaluation_file(folder, arm.name, f"{version}.{number + 1}").is_file()
            if current and not newer:
                break
            number += 1
        if not (lines and lines[-1]["kind"] == "end" and lines[-1]["status"] == "ok"):
            plain = {"name": arm.name, "title": arm.title, "evaluator": arm.evaluator}
            plain |= {"version": arm.version, "settings": arm.settings}
            missing.append({"arm": plain, "file": str(file), "source_digest": source, "others": used})
    return missing
