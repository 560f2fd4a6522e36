"""From what a run needs to the task that a worker is handed, and what is tidied up after it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.records import TRAIN_FILE, RecordWriter, Store, evaluation_file, read_record
from bench.records.evaluations import Evaluations
from bench.run.claim import ELSEWHERE
from bench.sweep.devices import Workers
from bench.sweep.executors.api import Event, Task
from bench.sweep.options import Options, leases_folder
from bench.sweep.todo import CurrentArm, Todo, evaluations_todo
from bench.train.step_key import step_key


def make_task(
    item: Todo, arms: Sequence[CurrentArm], store: Store, workers: Workers, options: Options,
    expired: str | None = None,
) -> Task:  # fmt: skip
    """The task of a run that needs something.

    arms: the suite's evaluators. expired: content of the run's lease that is to be taken over. Its holder may wake up,
    so nothing that it might write to is written: training goes on in a copy of its attempt, an evaluation begins in a
    record of its own.
    """
    training = item.need != "evaluate"
    copied = item.folder if training and expired is not None else None
    old = None if copied is not None else item.folder
    folder = old or store.new_attempt(item.spec.run_id)
    free = [arm for arm in arms if not arm.needs]
    evals = evaluations_todo(free, Evaluations(str(folder), store.summaries), {}) if training else item.evals
    if expired is not None and not training:
        evals = [_begun_anew(each, folder) for each in evals]
    world_size = item.spec.effective_protocol.world_size
    return {
        "task": "run",
        "name": item.spec.run_id,
        "spec": item.spec.model_dump(mode="json"),
        "folder": str(folder),
        "device": workers.device,
        "threads": workers.threads,
        "world_size": world_size,
        "processes": min(world_size, options.executor.processes or world_size) if training else 1,
        "restarts": options.executor.restarts,
        "train": training,
        "trial": options.trial,
        "source_digest": item.source_digest,
        "planned": item.seeds,
        "step": _compiled_step(item, training, workers),
        "checkpoint_seconds": options.checkpoint_seconds,
        "evals": evals,
        "lease": {
            "folder": str(leases_folder(store)),
            "seconds": options.executor.lease_seconds,
            "seen": item.seen,
            "expired": expired,
            "copy": None if copied is None else str(copied),
        },
    }


def _compiled_step(item: Todo, training: bool, workers: Workers) -> str | None:
    """Equal for runs that can share the compiled step which a worker keeps; None where nothing is compiled."""
    if not training or item.spec.effective_protocol.compile == "none":
        return None
    return step_key(item.spec, None, workers.device)


def _begun_anew(wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same evaluation in a file that nobody has open; an evaluation that nobody began is left as it is."""
    if not Path(wanted["file"]).is_file():
        return wanted
    arm, number = wanted["arm"], 2
    while (file := evaluation_file(folder, arm["name"], f"{arm['version']}.{number}")).is_file():
        number += 1
    return {**wanted, "file": str(file), "carried": None}


def remove_unused(folder: Path) -> None:
    """Take back an attempt that never began."""
    if not (folder / TRAIN_FILE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


def close_record(event: Event) -> None:
    """A worker that died or failed could not write how its run ended."""
    fields = event.fields
    path = Path(event.task["folder"]) / TRAIN_FILE
    if not event.task["train"] or fields["status"] in ("ok", "refused", "skipped", "diverged", ELSEWHERE):
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
