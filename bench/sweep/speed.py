"""Timing sessions of a suite: a fresh process each, when nothing else of the sweep runs."""

from __future__ import annotations

import secrets
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench.clock import duration_text
from bench.config.suite import SpeedSettings, Suite
from bench.env import package_versions
from bench.errors import BadInput
from bench.records import SpeedSession, Store
from bench.spec import Spec
from bench.sweep.devices import Workers, plan_workers
from bench.sweep.executors.local import LocalExecutor
from bench.sweep.options import Options, logs_folder
from bench.sweep.progress import Progress
from bench.sweep.todo import Todo, find_todo

PUBLISHED_PROCESSES = 5
"""Fresh processes that a published board takes, so that its intervals are over processes."""


def time_cells(suite: Suite, store: Store, settings: SpeedSettings, options: Options, anew: bool = False) -> bool:
    """Time all methods of each cell of a suite in `settings.processes` sessions, each in a fresh process.

    Sessions of the current code that are there already count, unless `anew`. Returns whether all ended ok.
    """
    workers = plan_workers(options.device, options.workers, options.threads)
    series = secrets.token_hex(8)
    cells = planned_cells(suite, store)
    wanted = dict.fromkeys(cells, settings.processes)
    if not anew:
        sessions = store.sessions()
        for cell, items in cells.items():
            current = [one for one in sessions if _current(one, items, settings, workers)]
            wanted[cell] -= len(current)
    fine = True
    for process in range(settings.processes):  # cells in turns, so that the processes of one lie apart in time
        for cell, items in cells.items():
            if process < wanted[cell]:
                plan = _plan(suite, items, settings) | {"series": series}
                title = f"step times of {len(items)} methods ({_cell_title(items)})"
                if wanted[cell] > 1:
                    title += f", process {process + 1} of {wanted[cell]}"
                specs = [item.spec for item in items]
                fine = time_session(suite, store, options, specs, _digests(items), plan, title) and fine
    return fine


def planned_cells(suite: Suite, store: Store) -> dict[str, list[Todo]]:
    """By cell the suite's methods, each with its first seed; without cells whose runs several ranks share."""
    todo = find_todo(suite, store)
    cells: dict[str, list[Todo]] = defaultdict(list)
    shared = [item for item in todo if item.spec.effective_protocol.world_size > 1]
    if shared:
        print("step times are taken of runs of one rank only, so not of protocol.world_size above 1", file=sys.stderr)
    for item in todo:
        if item.spec.seed == todo[0].spec.seed and item not in shared:
            cells[item.spec.cell].append(item)
    return dict(cells)


def time_session(
    suite: Suite, store: Store, options: Options, specs: Sequence[Spec], digests: dict[str, str], plan: dict[str, Any],
    title: str,
) -> bool:  # fmt: skip
    """One session over specs of one cell in a process of its own; whether it ended ok. BadInput as the worker has it.

    plan: as `bench.speed.session.time_methods` takes it.
    """
    workers = plan_workers(options.device, options.workers, options.threads)
    file = store.new_session()
    file.parent.mkdir(parents=True, exist_ok=True)
    name = specs[0].cell
    task = {
        "task": "speed",
        "name": name,
        "specs": [spec.model_dump(mode="json") for spec in specs],
        "folder": str(file.parent),
        "file": str(file),
        "device": workers.device,
        "threads": workers.threads,
        "settings": plan,
        "source_digests": digests,
    }
    units = int(plan["rounds"])
    progress = Progress(f"{suite.name}: {title}", units, 1)
    done = False
    try:
        for event in LocalExecutor(workers.environments[:1], logs_folder(store), None, options.lock).run([task]):
            if event.kind == "progress":
                done_rounds = event.fields["round"] - 1  # what comes before the first one is of another length
                if done_rounds == 0:
                    progress.measure_from_here()
                progress.advance(name, max(0, done_rounds))
            elif event.kind == "done":
                if event.fields["status"] == "bad input":
                    raise BadInput(event.fields["reason"])
                done = event.fields["status"] == "ok"
                detail = duration_text(event.fields["seconds"]) if done else str(event.fields["reason"])
                progress.finish(name, units, f"{title}: {event.fields['status']}, {detail}")
    finally:
        progress.close()
    return done


def _plan(suite: Suite, items: Sequence[Todo], settings: SpeedSettings) -> dict[str, Any]:
    """The session's settings, and the reference, which is timed twice."""
    reference = reference_of(suite, items)
    return session_settings(settings) | {"reference": reference.spec.arm if reference else None}


def reference_of(suite: Suite, items: Sequence[Todo]) -> Todo | None:
    """The method of a cell that ratios are taken to: by its label, else by its implementation."""
    base = suite.file.base
    by_label = [item for item in items if item.spec.labels.method == base]
    found = by_label or [item for item in items if item.spec.method.implementation == base]
    return found[0] if found else None


def session_settings(settings: SpeedSettings) -> dict[str, int]:
    """What one session is told, and what must be equal for two of them to be pooled."""
    return settings.model_dump(exclude={"processes"})


def _digests(items: Sequence[Todo]) -> dict[str, str]:
    return {item.spec.arm: item.source_digest for item in items}


def _cell_title(items: Sequence[Todo]) -> str:
    labels = items[0].spec.labels
    return f"{labels.data}, {labels.backbone}, {labels.protocol}"


def _current(session: SpeedSession, items: Sequence[Todo], settings: SpeedSettings, workers: Workers) -> bool:
    """Whether a session timed the same code and torch the same way, as many threads, on the same kind of device."""
    begin = session.begin
    provenance: dict[str, Any] = begin.get("provenance") or {}
    return (
        session.status == "ok"
        and not begin.get("scaling")
        and begin.get("cell") == items[0].spec.cell
        and begin.get("settings") == session_settings(settings)
        and _digests(items).items() <= dict(begin.get("source_digests") or {}).items()
        and provenance.get("device") == workers.kind
        and provenance.get("threads") == workers.threads
        and provenance.get("packages") == package_versions()
    )
