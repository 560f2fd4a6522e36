"""Timing sessions of a suite: one a cell, in a process of its own, when nothing else of the sweep runs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from bench.clock import duration_text
from bench.config.suite import SpeedSettings, Suite
from bench.env import package_versions
from bench.errors import BadInput
from bench.records import Store
from bench.sweep.devices import Workers, plan_workers
from bench.sweep.options import Options, logs_folder
from bench.sweep.pool import Pool
from bench.sweep.progress import Progress
from bench.sweep.todo import Todo, find_todo


def time_cells(suite: Suite, store: Store, settings: SpeedSettings, options: Options, anew: bool = False) -> bool:
    """Time all methods of each cell of a suite in one session, unless a current session is there or `anew`.

    Returns whether all sessions ended ok.
    """
    workers = plan_workers(options.device, options.workers, options.threads)
    todo = find_todo(suite, store)
    fine = True
    cells: dict[str, list[Todo]] = defaultdict(list)
    for item in todo:
        if item.spec.seed == todo[0].spec.seed:
            cells[item.spec.cell].append(item)
    plain = settings.model_dump()
    for cell, items in cells.items():
        digests = {item.spec.arm: item.source_digest for item in items}
        sessions = () if anew else store.sessions()
        if any(session.status == "ok" and _same(session.begin, cell, plain, digests, workers) for session in sessions):
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
            for event in Pool(workers.environments[:1], logs_folder(store), None, options.lock).run([task]):
                if event.kind == "progress":
                    progress.advance(cell, event.fields["round"])
                elif event.kind == "done":
                    if event.fields["status"] == "bad input":
                        raise BadInput(event.fields["reason"])
                    done = event.fields["status"] == "ok"
                    fine = fine and done
                    detail = duration_text(event.fields["seconds"]) if done else str(event.fields["reason"])
                    progress.finish(cell, settings.rounds + 1, f"{name}: {event.fields['status']}, {detail}")
        finally:
            progress.close()
    return fine


def _same(
    begin: dict[str, Any], cell: str, settings: dict[str, int], digests: dict[str, str], workers: Workers
) -> bool:
    """Whether a session timed the same code and torch the same way, as many threads, on the same kind of device."""
    provenance: dict[str, Any] = begin.get("provenance") or {}
    return (
        begin.get("cell") == cell
        and begin.get("settings") == settings
        and digests.items() <= dict(begin.get("source_digests") or {}).items()
        and provenance.get("device") == workers.kind
        and provenance.get("threads") == workers.threads
        and provenance.get("packages") == package_versions()
    )
