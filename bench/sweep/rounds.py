"""Do what runs need, and again what another sweep held at first but did not bring to an end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.clock import duration_text
from bench.config.suite import Suite
from bench.errors import BadInput
from bench.records import StorageError, Store
from bench.records.lease import Watch, holder
from bench.run.claim import ELSEWHERE
from bench.sweep.devices import Workers
from bench.sweep.executors.api import Event
from bench.sweep.executors.choose import make_executor
from bench.sweep.options import Options, leases_folder, logs_folder
from bench.sweep.progress import Progress
from bench.sweep.tasks import close_record, make_task, remove_unused
from bench.sweep.todo import Todo, read_evals

LOOK_SECONDS = 0.5
"""Between looks at the leases of runs that other sweeps do."""

Plan = Callable[[], list[Todo]]


def do_runs(
    suite: Suite, store: Store, waiting: list[Todo], plan: Plan, workers: Workers, options: Options
) -> set[str]:  # fmt: skip
    """Do what is to be done, each run once; returns why evaluators were refused. plan: says anew what is to be done.

    Runs that other sweeps hold are waited for in the end: those that are done then are left as they are, those whose
    holder is gone are done here.
    """
    refusals: set[str] = set()
    watch = Watch(leases_folder(store))
    elsewhere = _round(suite, store, waiting, {}, workers, options, refusals)
    while elsewhere:
        free = _free(elsewhere, watch, store)
        elsewhere -= free.keys()
        waiting = [item for item in plan() if item.spec.run_id in free]
        elsewhere |= _round(suite, store, waiting, free, workers, options, refusals)
    return refusals


def _round(
    suite: Suite, store: Store, waiting: list[Todo], expired: dict[str, str | None], workers: Workers,
    options: Options, refusals: set[str],
) -> set[str]:  # fmt: skip
    """Hand the tasks to an executor; returns the runs that were left to others."""
    elsewhere: set[str] = set()
    if not waiting:
        return elsewhere
    arms = read_evals(suite)
    tasks = [make_task(item, arms, store, workers, options, expired.get(item.spec.run_id)) for item in waiting]
    items = {task["name"]: item for task, item in zip(tasks, waiting, strict=True)}
    units = {
        task["name"]: len(task["evals"]) + (items[task["name"]].spec.effective_protocol.epochs if task["train"] else 0)
        for task in tasks
    }
    progress = Progress(suite.name, sum(units.values()), len(tasks))
    try:
        for event in make_executor(options, workers, logs_folder(store)).run(tasks):
            name = event.task["name"]
            options.listeners.heard(event)
            if event.kind == "waiting":
                progress.leave(name)
                if line := event.fields.get("line"):
                    progress.say(line)
            elif event.kind == "start":
                progress.start(name, items[name].name, units[name])
            elif event.kind == "progress":
                progress.advance(name, event.fields["units"])
            elif event.kind == "done":
                if event.fields["status"] == ELSEWHERE:
                    elsewhere.add(name)
                    progress.leave(name)
                    continue
                if event.fields["status"] == "bad input":
                    raise BadInput(event.fields["reason"])
                if event.fields["status"] == "refused":
                    refusals.add(event.fields["reason"])
                if event.fields.get("full"):
                    raise StorageError(event.fields["reason"], full=True)
                close_record(event)
                progress.finish(name, units[name], _finished_line(items[name], event, store))
    finally:
        progress.close()
        for task in tasks:
            remove_unused(Path(task["folder"]))
    return elsewhere


def _free(elsewhere: set[str], watch: Watch, store: Store) -> dict[str, str | None]:
    """Wait until some of the runs may be taken; each with the content of the expired lease to take over, or None."""
    told = False
    while True:
        looks = {run_id: watch.look(run_id) for run_id in sorted(elsewhere)}
        free = {run_id: expired for run_id, (may, expired) in looks.items() if may}
        if free:
            return free
        if not told:
            _say_waiting(elsewhere, store)
            told = True
        time.sleep(LOOK_SECONDS)


def _say_waiting(elsewhere: set[str], store: Store) -> None:
    found = [holder(leases_folder(store), run_id) for run_id in sorted(elsewhere)]
    hosts = ", ".join(sorted({one.host for one in found if one is not None})) or "another machine"
    print(
        f"waiting for {len(elsewhere)} run(s) that another sweep is doing on {hosts} ...", file=sys.stderr, flush=True
    )


def _finished_line(item: Todo, event: Event, store: Store) -> str:
    fields = event.fields
    line = f"{item.name}: {fields['status']}"
    record = store.run(item.spec.run_id)
    if fields["status"] != "ok":
        reason = fields.get("reason") or (record.reason if record is not None else "")
        return f"{line}, {reason}" if reason else line
    last = record.training.last if record is not None else {}
    split = "test" if last.get("test") else "validation"  # a trial of a tuning has no test images
    accuracy = f", {split} top-1 {100 * last[split]['top1']:.1f} %" if last.get(split) else ""
    return f"{line}{accuracy}, {duration_text(fields['seconds'])}"
