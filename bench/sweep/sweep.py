"""Bring a suite's records up to date: train what is missing, evaluate, time the steps."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace

from bench.config.suite import SpeedSettings, Suite
from bench.errors import BadInput
from bench.evals.registry import evaluator_facts
from bench.records import Store
from bench.sweep.devices import Workers
from bench.sweep.executors.choose import planned_workers
from bench.sweep.executors.settings import LocalSettings
from bench.sweep.lock import results_lock
from bench.sweep.options import Options
from bench.sweep.progress import Progress
from bench.sweep.rounds import do_runs
from bench.sweep.speed import time_cells
from bench.sweep.todo import Todo, find_todo


class EvaluationRefused(BadInput):
    """Some evaluator does not go with the data or the backbone; everything else has been done."""


def run_sweep(suite: Suite, store: Store, options: Options) -> tuple[list[Todo], bool]:
    """Do what is to be done; returns the runs that are still missing and whether all step times were taken.

    EvaluationRefused where an evaluator cannot be used here, once all else is done.
    """
    workers = planned_workers(options)
    todo = find_todo(suite, store)
    waiting = _first(todo)
    _say_plan(suite, todo, waiting, workers, options)
    refused: EvaluationRefused | None = None
    if waiting:
        refusals = do_runs(suite, store, waiting, lambda: _first(find_todo(suite, store)), workers, options)
        if later := _later(find_todo(suite, store)):
            refusals |= do_runs(suite, store, later, lambda: _later(find_todo(suite, store)), workers, options)
        refused = _refusal(refusals)
    timed = suite.file.speed == "none" or _time(suite, store, suite.file.speed, options)
    if refused:
        raise refused
    return [item for item in find_todo(suite, store) if not _complete(item)], timed


def run_evaluations(suite: Suite, store: Store, options: Options) -> list[Todo]:
    """Evaluate finished runs, train nothing; returns what is missing afterwards.

    EvaluationRefused where an evaluator cannot be used here, once all else is done.
    """
    workers = planned_workers(options)
    waiting = _evaluations(find_todo(suite, store))
    refusals = do_runs(suite, store, waiting, lambda: _evaluations(find_todo(suite, store)), workers, options)
    if refused := _refusal(refusals):
        raise refused
    return [item for item in find_todo(suite, store) if not _complete(item)]


def _first(todo: list[Todo]) -> list[Todo]:
    """All that is missing; evaluators that want other runs' networks are put off while runs are to be trained."""
    waiting = [item for item in todo if item.need != "nothing"]
    if any(item.need != "evaluate" for item in waiting):
        waiting = [item for item in waiting if _without_needs(item)]
    return waiting


def _later(todo: list[Todo]) -> list[Todo]:
    """Runs that lack evaluators that want other runs' networks, with these alone."""
    return [item for item in _evaluations(todo) if _only_needs(item)]


def _evaluations(todo: list[Todo]) -> list[Todo]:
    return [item for item in todo if item.need == "evaluate"]


def _time(suite: Suite, store: Store, settings: SpeedSettings, options: Options) -> bool:
    """Time the steps, one sweep at a time; on this machine, so that a sweep elsewhere leaves it to `mixbench speed`."""
    if not isinstance(options.executor, LocalSettings):
        print("step times are not taken by this executor: give `mixbench speed` on the machine to be timed",
              file=sys.stderr)  # fmt: skip
        return True
    if options.lock is not None:
        return time_cells(suite, store, settings, options)
    with results_lock(store.root.parent, patient=True) as lock:
        return time_cells(suite, store, settings, replace(options, lock=lock))


def _only_needs(item: Todo) -> bool:
    """Keep the evaluators that want other runs' networks; the others have just been tried."""
    item.evals = [each for each in item.evals if evaluator_facts(each["arm"]["evaluator"]).needs]
    return bool(item.evals)


def _refusal(messages: set[str]) -> EvaluationRefused | None:
    return EvaluationRefused("; ".join(sorted(messages))) if messages else None


def _complete(item: Todo) -> bool:
    return item.need == "nothing" and item.record is not None and item.record.status in ("ok", "skipped")


def _say_plan(suite: Suite, todo: list[Todo], waiting: list[Todo], workers: Workers, options: Options) -> None:
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
    if waiting and isinstance(options.executor, LocalSettings):
        count = min(len(workers.environments), len(waiting))
        progress.say(f"Starting {count} worker(s) with {workers.threads} thread(s) each on {workers.device}.")
        sizes = {item.spec.effective_protocol.world_size for item in waiting}
        if max(sizes) > 1:
            progress.say(f"  {options.executor.processes or max(sizes)} processes share a run of several ranks")
        if workers.sharing:
            progress.say(f"  {workers.sharing}")


def _without_needs(item: Todo) -> bool:
    """Put off the evaluators that want other runs' networks; false where nothing else is left to do."""
    item.evals = [each for each in item.evals if not evaluator_facts(each["arm"]["evaluator"]).needs]
    return item.need != "evaluate" or bool(item.evals)


def require_records(store: Store) -> None:
    """BadInput where there is nothing to show."""
    if not store.root.is_dir():
        raise BadInput(f"{store.root}: no records here; start with `mixbench run configs/suite/quickstart.yaml`")
