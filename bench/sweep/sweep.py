"""Bring a suite's records up to date: train what is missing, evaluate, time the steps."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.clock import duration_text
from bench.config.suite import Suite
from bench.errors import BadInput
from bench.records import RecordWriter, Store, read_record
from bench.spec import Spec
from bench.sweep.devices import Workers, plan_workers
from bench.sweep.pool import Event, Pool
from bench.sweep.progress import Progress
from bench.sweep.todo import Todo, evaluations_todo, find_todo, read_evals

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """How a sweep runs; nothing here changes a number in a table."""

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    run_timeout: float | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS


def run_sweep(suite: Suite, store: Store, options: Options) -> list[Todo]:
    """Do what is to be done and return what is still missing afterwards (empty when the suite is complete)."""
    todo = find_todo(suite, store)
    waiting = [item for item in todo if item.need != "nothing"]
    workers = plan_workers(options.device, options.workers, options.threads)
    _say_plan(suite, todo, waiting, workers)
    if waiting:
        _do_runs(suite, store, waiting, workers, options)
    _do_speed(suite, store, todo, workers)
    return [item for item in find_todo(suite, store) if not _complete(item)]


def _complete(item: Todo) -> bool:
    return item.need == "nothing" and item.record is not None and item.record.status in ("ok", "skipped")


def _say_plan(suite: Suite, todo: list[Todo], waiting: list[Todo], workers: Workers) -> None:
    progress = Progress(suite.name, 0, 0)
    finished = len(todo) - len(waiting)
    progress.say(f"{suite.file.title}: {len(todo)} runs, {finished} of them done already.")
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in waiting:
        if item.why != "new":
            verb = {"resume": "continues from its checkpoint", "evaluate": "is evaluated"}.get(item.need, "is trained again")
            reasons[f"{item.why}; {verb}"].append(f"{item.spec.labels.method} seed {item.spec.seed}")
    for why, names in reasons.items():
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        progress.say(f"  {shown}: {why}")
    if waiting:
        count = min(len(workers.environments), len(waiting))
        progress.say(f"Starting {count} worker(s) with {workers.threads} thread(s) each on {workers.device}.")


def _do_runs(suite: Suite, store: Store, waiting: list[Todo], workers: Workers, options: Options) -> None:
    tasks = [_task(item, suite, store, workers, options) for item in waiting]
    items = {task["name"]: item for task, item in zip(tasks, waiting, strict=True)}
    units = {task["name"]: items[task["name"]].spec.effective_protocol.epochs for task in tasks}
    progress = Progress(suite.name, sum(units.values()), len(tasks))
    try:
        for event in _closing(Pool(workers.environments, store.root.parent / "logs", options.run_timeout).run(tasks)):
            name = event.task["name"]
            if event.kind == "progress":
                progress.advance(name, event.fields["epoch"])
            elif event.kind == "done":
                _close_record(event)
                progress.finish(name, units[name], _finished_line(items[name], event, store))
    finally:
        progress.close()


def _closing(events: Iterable[Event]) -> Iterable[Event]:
    """Pass events on and close the pool at once when the consumer stops, as on Ctrl-C."""
    try:
        yield from events
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _task(item: Todo, suite: Suite, store: Store, workers: Workers, options: Options) -> dict[str, Any]:
    training = item.need != "evaluate"
    folder = item.folder or store.new_attempt(item.spec.run_id)
    return {
        "task": "run",
        "name": item.spec.run_id,
        "spec": item.spec.model_dump(mode="json"),
        "folder": str(folder),
        "device": workers.device,
        "threads": workers.threads,
        "train": training,
        "source_digest": item.source_digest,
        "planned": item.seeds,
        "checkpoint_seconds": options.checkpoint_seconds,
        "evals": evaluations_todo(read_evals(suite), folder) if training else item.evals,
    }


def _close_record(event: Event) -> None:
    """A worker that died or failed could not write how its run ended."""
    fields = event.fields
    path = Path(event.task["folder"]) / "train.jsonl"
    if not event.task["train"] or fields["status"] in ("ok", "skipped", "diverged"):
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


def _do_speed(suite: Suite, store: Store, todo: list[Todo], workers: Workers) -> None:
    settings = suite.file.speed
    if settings == "none":
        return
    cells: dict[str, list[Todo]] = defaultdict(list)
    for item in todo:
        if item.spec.seed == todo[0].spec.seed:
            cells[item.spec.cell].append(item)
    plain = settings.model_dump()
    for cell, items in cells.items():
        digests = {item.spec.arm: item.source_digest for item in items}
        if any(_same_session(session.begin, cell, plain, digests, workers) and session.status == "ok"
               for session in store.sessions()):  # fmt: skip
            continue
        labels = items[0].spec.labels
        name = f"step times of {len(items)} methods ({labels.data}, {labels.backbone}, {labels.protocol})"
        file = store.new_session()
        file.parent.mkdir(parents=True, exist_ok=True)
        task = {
            "task": "speed",
            "name": cell,
            "specs": [item.spec.model_dump(mode="json") for item in items],
            "folder": str(file.parent),
            "file": str(file),
            "device": workers.device,
            "threads": workers.threads,
            "settings": plain,
            "source_digests": digests,
        }
        progress = Progress(f"{suite.name}: {name}", settings.rounds + 1, 1)
        try:
            for event in _closing(Pool(workers.environments[:1], store.root.parent / "logs").run([task])):
                if event.kind == "progress":
                    progress.advance(cell, event.fields["round"])
                elif event.kind == "done":
                    done = event.fields["status"] == "ok"
                    detail = duration_text(event.fields["seconds"]) if done else str(event.fields["reason"])
                    progress.finish(cell, settings.rounds + 1, f"{name}: {event.fields['status']}, {detail}")
        finally:
            progress.close()


def _same_session(
    begin: dict[str, Any], cell: str, settings: dict[str, int], digests: dict[str, str], workers: Workers
) -> bool:
    """Whether a session timed the same code the same way with as many threads on the same kind of device."""
    provenance = begin.get("provenance") or {}
    device = "cuda" if workers.device.startswith("cuda") else "cpu"
    return (
        begin.get("cell") == cell
        and begin.get("settings") == settings
        and begin.get("source_digests") == digests
        and provenance.get("device") == device
        and provenance.get("threads") == workers.threads
    )


def planned_specs(suite: Suite, store: Store) -> list[Spec]:
    """The suite's specs in suite order, for tables that show missing runs as missing."""
    return [item.spec for item in find_todo(suite, store)]


def require_records(store: Store) -> None:
    """BadInput where there is nothing to show."""
    if not store.root.is_dir():
        raise BadInput(f"{store.root}: no records here; start with `mixbench run configs/suite/quickstart.yaml`")
