"""Bring a suite's records up to date: train what is missing, evaluate, time the steps."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.clock import duration_text
from bench.config.suite import Suite
from bench.errors import BadInput
from bench.evals.registry import evaluator_facts
from bench.records import TRAIN_FILE, RecordWriter, StorageError, Store, read_record
from bench.sweep.devices import Workers, plan_workers
from bench.sweep.options import Options, logs_folder
from bench.sweep.pool import Event, Pool
from bench.sweep.progress import Progress
from bench.sweep.speed import time_cells
from bench.sweep.todo import Todo, evaluations_todo, find_todo, read_evals

WILL = {"resume": "continues from its checkpoint", "evaluate": "is evaluated", "train": "is trained again"}


class EvaluationRefused(BadInput):
    """Some evaluator does not go with the data or the backbone; everything else has been done."""


def run_sweep(suite: Suite, store: Store, options: Options) -> tuple[list[Todo], bool]:
    """Do what is to be done; returns the runs that are still missing and whether all step times were taken.

    EvaluationRefused where an evaluator cannot be used here, once all else is done.
    """
    todo = find_todo(suite, store)
    waiting = [item for item in todo if item.need != "nothing"]
    if any(item.need != "evaluate" for item in waiting):
        waiting = [item for item in waiting if _without_needs(item)]
    workers = plan_workers(options.device, options.workers, options.threads)
    _say_plan(suite, todo, waiting, workers)
    refused: EvaluationRefused | None = None
    if waiting:
        refusals = _do_runs(suite, store, waiting, workers, options)
        again = find_todo(suite, store)
        later = [item for item in again if item.need == "evaluate" and _only_needs(item)]
        if later:
            refusals |= _do_runs(suite, store, later, workers, options)
        refused = _refusal(refusals)
    timed = suite.file.speed == "none" or time_cells(suite, store, suite.file.speed, options)
    if refused:
        raise refused
    return [item for item in find_todo(suite, store) if not _complete(item)], timed


def run_evaluations(suite: Suite, store: Store, options: Options) -> list[Todo]:
    """Evaluate finished runs, train nothing; returns what is missing afterwards.

    EvaluationRefused where an evaluator cannot be used here, once all else is done.
    """
    waiting = [item for item in find_todo(suite, store) if item.need == "evaluate"]
    workers = plan_workers(options.device, options.workers, options.threads)
    if waiting and (refused := _refusal(_do_runs(suite, store, waiting, workers, options))):
        raise refused
    return [item for item in find_todo(suite, store) if not _complete(item)]


def _only_needs(item: Todo) -> bool:
    """Keep the evaluators that want other runs' networks; the others have just been tried."""
    item.evals = [each for each in item.evals if evaluator_facts(each["arm"]["evaluator"]).needs]
    return bool(item.evals)


def _refusal(messages: set[str]) -> EvaluationRefused | None:
    return EvaluationRefused("; ".join(sorted(messages))) if messages else None


def _complete(item: Todo) -> bool:
    return item.need == "nothing" and item.record is not None and item.record.status in ("ok", "skipped")


def _say_plan(suite: Suite, todo: list[Todo], waiting: list[Todo], workers: Workers) -> None:
    progress = Progress(suite.name, 0, 0)
    finished = len(todo) - len(waiting)
    progress.say(f"{suite.file.title}: {len(todo)} runs, {finished} of them done already.")
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in waiting:
        if item.why != "new":
            verb = {"resume": "continues from its checkpoint", "evaluate": "is evaluated"}.get(
                item.need, "is trained again"
            )
            reasons[f"{item.why}; {verb}"].append(f"{item.spec.labels.method} seed {item.spec.seed}")
    for why, names in reasons.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        progress.say(f"  {shown}: {why}")
    if waiting:
        count = min(len(workers.environments), len(waiting))
        progress.say(f"Starting {count} worker(s) with {workers.threads} thread(s) each on {workers.device}.")


def _do_runs(suite: Suite, store: Store, waiting: list[Todo], workers: Workers, options: Options) -> set[str]:
    """Do the tasks; returns why evaluators were refused."""
    refusals: set[str] = set()
    tasks = [_task(item, suite, store, workers, options) for item in waiting]
    items = {task["name"]: item for task, item in zip(tasks, waiting, strict=True)}
    units = {
        task["name"]: len(task["evals"]) + (items[task["name"]].spec.effective_protocol.epochs if task["train"] else 0)
        for task in tasks
    }
    progress = Progress(suite.name, sum(units.values()), len(tasks))
    try:
        for event in Pool(workers.environments, logs_folder(store), options.run_timeout, options.lock).run(tasks):
            name = event.task["name"]
            if event.kind == "progress":
                progress.advance(name, event.fields["units"])
            elif event.kind == "done":
                if event.fields["status"] == "bad input":
                    raise BadInput(event.fields["reason"])
                if event.fields["status"] == "refused":
                    refusals.add(event.fields["reason"])
                if event.fields.get("full"):
                    raise StorageError(event.fields["reason"], full=True)
                _close_record(event)
                progress.finish(name, units[name], _finished_line(items[name], event, store))
    finally:
        progress.close()
        for task in tasks:
            _remove_unused(Path(task["folder"]))
    return refusals


def _task(item: Todo, suite: Suite, store: Store, workers: Workers, options: Options) -> dict[str, Any]:
    training = item.need != "evaluate"
    arms = [arm for arm in read_evals(suite) if not arm.needs]
    folder = item.folder or store.new_attempt(item.spec.run_id)
    return {
        "task": "run",
        "name": item.spec.run_id,
        "spec": item.spec.model_dump(mode="json"),
        "folder": str(folder),
        "device": workers.device,
        "threads": workers.threads,
        "train": training,
        "trial": options.trial,
        "source_digest": item.source_digest,
        "planned": item.seeds,
        "checkpoint_seconds": options.checkpoint_seconds,
        "evals": evaluations_todo(arms, folder, {}) if training else item.evals,
    }


def _without_needs(item: Todo) -> bool:
    """Put off the evaluators that want other runs' networks; false where nothing else is left to do."""
    item.evals = [each for each in item.evals if not evaluator_facts(each["arm"]["evaluator"]).needs]
    return item.need != "evaluate" or bool(item.evals)


def _remove_unused(folder: Path) -> None:
    """Take back an attempt that never began."""
    if not (folder / TRAIN_FILE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


def _close_record(event: Event) -> None:
    """A worker that died or failed could not write how its run ended."""
    fields = event.fields
    path = Path(event.task["folder"]) / TRAIN_FILE
    if not event.task["train"] or fields["status"] in ("ok", "refused", "skipped", "diverged"):
        return
    lines = read_record(path).lines
    if lines and lines[-1]["kind"] == "end":
        return
    with RecordWriter(path) as record:
        if not lines:
            record.append("begin", run_id=event.task["name"], spec=event.task["spec"], schema=1,
                          labels=event.task["spec"]["labels"], source_digest=event.task["source_digest"],
                          planned=event.task["planned"], provenance={}, epoch=0, time=time.time())  # fmt: skip
        record.append("end", status=fields["status"], reason=fields["reason"], seconds=None)


def _finished_line(item: Todo, event: Event, store: Store) -> str:
    fields = event.fields
    line = f"{item.name}: {fields['status']}"
    if fields["status"] != "ok":
        record = store.run(item.spec.run_id)
        reason = fields.get("reason") or (record.reason if record is not None else "")
        return f"{line}, {reason}" if reason else line
    record = store.run(item.spec.run_id)
    test = record.epochs[-1].get("test") if record is not None and record.epochs else None
    accuracy = f", test top-1 {100 * test['top1']:.1f} %" if test else ""
    return f"{line}{accuracy}, {duration_text(fields['seconds'])}"


def require_records(store: Store) -> None:
    """BadInput where there is nothing to show."""
    if not store.root.is_dir():
        raise BadInput(f"{store.root}: no records here; start with `mixbench run configs/suite/quickstart.yaml`")
