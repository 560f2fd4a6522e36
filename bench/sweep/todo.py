"""What of a suite is done, and what each other run still needs."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

import bench.evals
from bench.config.catalogue import method_facts
from bench.config.suite import Suite
from bench.data.facts import describe
from bench.errors import BadInput
from bench.evals.registry import EvalArm, read_arm
from bench.records import (
    CHECKPOINT_FILE,
    METHOD_FILE,
    WEIGHTS_FILE,
    RunRecord,
    Store,
)
from bench.records.attempt import deciding
from bench.records.collection import collection_paused
from bench.records.evaluations import Evaluations, evaluation_name
from bench.records.sharing import mapping
from bench.sources import file_source_digest, method_source_digest
from bench.spec import DataSpec, Spec

TRAINED_ELSEWHERE = "trained elsewhere"
"""Stands for the source digest of a network that came from a checkpoint file."""
FINAL = ("ok", "skipped", "diverged")
"""Endings that would come out the same again; a run with another ending is done again."""


Others = dict[str, dict[str, Any]]
"""By method label: run_id, folder and spec of a finished run."""
Finished = dict[tuple[str, str], list[tuple[int, str, RunRecord]]]
"""By method label and cell: seed, run id and record of finished runs."""


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
    """Where training continues or evaluation takes place; None for a new attempt, and where nothing is to be done."""
    evals: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    others: Others = field(default_factory=dict[str, "dict[str, Any]"])
    """Finished runs of the same cell with another seed, by method label, for evaluators that want them."""
    seen: list[list[str]] = field(default_factory=list[list[str]])
    """Name and status of all attempts at the run, oldest first."""

    @property
    def name(self) -> str:
        """The run in a person's words."""
        labels = self.spec.labels
        return f"{labels.method} seed {self.spec.seed} ({labels.data}, {labels.backbone}, {labels.protocol})"


def with_digests(suite: Suite) -> list[tuple[Spec, str]]:
    """The suite's specs with the digest of their data, and their titles. BadInput when data are missing."""
    found: dict[DataSpec, DataSpec] = {}
    rows: dict[int, Spec] = {}
    specs: list[tuple[Spec, str]] = []
    for planned in suite.planned:
        plain = planned.row
        if id(plain) not in rows:
            data = plain.data
            if data not in found:
                found[data] = data.model_copy(update={"digest": describe(data).digest})
            rows[id(plain)] = plain.model_copy(update={"data": found[data]})
        specs.append((rows[id(plain)].with_seed(planned.seed), planned.title))
    return specs


class CurrentArm(NamedTuple):
    """An evaluator's settings, what it needs, and the digests of its settings and of its code as they are now."""

    arm: EvalArm
    needs: tuple[str, ...]
    digest: str
    source: str


def read_evals(suite: Suite) -> list[CurrentArm]:
    """The suite's evaluators with their settings."""
    folder = Path(bench.evals.__path__[0])
    arms = [read_arm(suite.folders.get("eval", name, "evals")) for name in suite.evals]
    return [CurrentArm(arm, arm.needs, arm.digest, file_source_digest(folder / f"{arm.evaluator}.py")) for arm in arms]


def find_todo(suite: Suite, store: Store) -> list[Todo]:
    """Every planned run with what it still needs."""
    with collection_paused():
        return _find_todo(suite, store)


def _find_todo(suite: Suite, store: Store) -> list[Todo]:
    arms = read_evals(suite)
    specs = with_digests(suite)
    seeds: dict[str, list[int]] = defaultdict(list)
    digests: dict[str, str] = {}
    store.prepare(spec.run_id for spec, _ in specs)
    for spec, _ in specs:
        seeds[spec.arm].append(spec.seed)
        if spec.arm not in digests:
            digests[spec.arm] = run_source_digest(spec)
    items = [_todo(spec, title, digests[spec.arm], seeds[spec.arm], store) for spec, title in specs]
    wanted = sorted({name for arm in arms for name in arm.needs})
    finished = _finished(store, wanted) if wanted else {}
    for item in items:
        item.others = {name: other for name in wanted if (other := _other(name, item, finished)) is not None}
        if item.need == "nothing" and item.record is not None and item.record.status == "ok":
            item.evals = evaluations_todo(arms, item.record.evaluated, item.others)
            if item.evals:
                item.need, item.why, item.folder = "evaluate", "evaluations missing", item.record.folder
                if lost := _lost_weights(item.record):
                    item.need, item.why, item.folder = "train", lost, None
    return items


def _lost_weights(record: RunRecord) -> str:
    """Why a finished run cannot be evaluated any more; "" where the weights that it recorded are whole."""
    names = [name for name in (WEIGHTS_FILE, METHOD_FILE) if name in record.files]
    return next((f"its {name} {problem}" for name in names if (problem := record.file_problem(name))), "")


def _finished(store: Store, methods: Sequence[str]) -> Finished:
    """The recorded runs of these methods that ended ok and were made by the current code, whatever suite they are of.

    By method label and cell, the lowest seed first.
    """
    found: Finished = defaultdict(list)
    for record in store.runs():
        if record.status == "ok" and mapping(record.spec.get("labels")).get("method") in methods:
            with contextlib.suppress(ValidationError, BadInput):
                spec = Spec.model_validate(record.spec, strict=False)
                if record.source_digest == run_source_digest(spec):
                    found[spec.labels.method, spec.cell].append((spec.seed, record.run_id, record))
    for runs in found.values():
        runs.sort(key=lambda run: run[:2])
    return dict(found)


def _other(name: str, item: Todo, finished: Finished) -> dict[str, Any] | None:
    """The finished run of a method with the lowest seed that is not the item's own."""
    for seed, run_id, record in finished.get((name, item.spec.cell), ()):
        if seed != item.spec.seed:
            return {"run_id": run_id, "folder": str(record.folder), "spec": record.spec}
    return None


def _todo(spec: Spec, title: str, digest: str, seeds: list[int], store: Store) -> Todo:
    every = store.attempts(spec.run_id)
    attempts = [attempt for attempt in every if attempt.spec]
    current = [attempt for attempt in attempts if attempt.source_digest == digest]
    record = deciding(current or attempts) if attempts else None
    todo = Todo(spec, title, digest, seeds, "train", "new", record)
    todo.seen = [[attempt.attempt, attempt.status] for attempt in every]
    if record is None:
        return todo
    if not current:
        todo.why = "stale: its source changed since"
    elif record.status not in FINAL:
        todo.why = f"{record.status} before" if record.status != "incomplete" else "stopped before its end"
        if (current[-1].folder / CHECKPOINT_FILE).is_file():
            todo.need, todo.folder = "resume", current[-1].folder
    else:
        todo.need, todo.why = "nothing", "done"
    return todo


def run_source_digest(spec: Spec) -> str:
    """Digest of the code that decides a run's numbers; of a network trained elsewhere there is none."""
    if spec.protocol.trained_elsewhere:
        return TRAINED_ELSEWHERE
    return method_source_digest(method_facts(spec.method.implementation).path)


def evaluations_todo(
    arms: Sequence[CurrentArm], evaluated: Evaluations, others: Others
) -> list[dict[str, Any]]:  # fmt: skip
    """The evaluators that an attempt has no complete, current record of, each with the file to write.

    evaluated: what the attempt's folder holds. A finished record stays in force when other runs could serve as partners
    now, but not when it had none at all.
    """
    missing: list[dict[str, Any]] = []
    for current in arms:
        arm = current.arm
        used = {name: others[name] for name in current.needs if name in others}
        partners = {name: str(other["run_id"]) for name, other in used.items()}
        file, done, carried = _record_to_write(current, evaluated, partners)
        if not done:
            plain = {"name": arm.name, "title": arm.title, "evaluator": arm.evaluator}
            plain |= {"version": arm.version, "settings": arm.settings}
            missing.append(
                {"arm": plain, "file": file, "source_digest": current.source, "others": used, "carried": carried}
            )
    return missing


def _record_to_write(
    current: CurrentArm, evaluated: Evaluations, partners: dict[str, str]
) -> tuple[str, bool, str | None]:  # fmt: skip
    """The newest record of an evaluator that may be continued, whether it is finished, and what it takes over.

    A record that lost lines to damage is not finished; one that lost its `begin` cannot be continued, since nobody
    knows which settings its numbers belong to.
    """
    arm = current.arm
    carried: str | None = None
    number = 1
    file = evaluation_name(arm.name, arm.version)
    while True:
        following = evaluation_name(arm.name, f"{arm.version}.{number + 1}")
        found = evaluated.summary(file)
        same_code = bool(found.begins or found.empty) and all(
            begin["digest"] == current.digest and begin["source_digest"] == current.source for begin in found.begins
        )
        recorded: dict[str, str] = found.begins[-1].get("others", {}) if found.begins else partners
        fits = recorded == partners or (found.finished and partners.keys() <= recorded.keys())
        if same_code and fits and following not in evaluated.files:
            return evaluated.path(file), found.finished, carried
        carried = evaluated.path(file) if same_code and found.finished else None
        file, number = following, number + 1
