"""What a job of the slurm executor does: one task in a worker process, and again what a stopped job had begun."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.records import TRAIN_FILE, Store
from bench.run.claim import attempts_of
from bench.sweep.executors.api import Task
from bench.sweep.executors.local import Slot
from bench.sweep.executors.remote import enter

OWN_SIGNAL_SECONDS = 5.0
"""A job's processes get their signals one after the other; how long this one waits for its own."""


@dataclass
class RunJob:
    """Does a task when called and returns the fields of its "done". Submitit pickles it, and calls `checkpoint` when
    the job's time is nearly up.

    log: for what belongs to no run. mark: the file of `bench.sweep.executors.remote.shared_mark`. directory: that
    paths are relative to.
    """

    task: Task
    environment: dict[str, str]
    log: Path
    timeout: float | None
    mark: Path
    directory: Path
    slot: Slot | None = None

    def __call__(self) -> dict[str, Any]:
        """Do the task. SystemExit, which leaves no result, when the worker was stopped by a signal.

        What that means is for SLURM to say: a job that it puts back in the queue goes on, a cancelled one does not.
        """
        if problem := enter(self.directory, self.mark):
            return problem
        self.slot = Slot(self.environment, self.log, self.timeout, None)
        found: list[dict[str, Any]] = []
        task = going_on(self.task)
        slot = self.slot
        # in a thread, so that this one can stop the worker while it handles a signal
        thread = threading.Thread(target=lambda: found.append(slot.do(task, queue.SimpleQueue())), daemon=True)
        try:
            thread.start()
            thread.join()
        finally:
            self.slot.leave()
        fields = found[0] if found else {"status": "error", "reason": f"see {self.log}", "lost": True}
        if fields["status"] == "interrupted":
            time.sleep(OWN_SIGNAL_SECONDS)
            raise SystemExit("stopped by a signal; the run's state is saved")
        return fields

    def checkpoint(self) -> Any:
        """Have the worker save its run's state; what submitit is to submit in place of this job."""
        if self.slot is not None:
            self.slot.leave()
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self, slot=None))


def going_on(task: Task) -> Task:
    """The task as it is to be done by a job that may have begun it before: its own traces are no news to it.

    Where the job was killed after training, what is left is to evaluate. Whether anybody else did something to the run
    is left for the worker to see, which holds the run by then.
    """
    folder = Path(task["folder"])
    now = attempts_of(Store(folder.parent.parent), folder.parent.name)
    own = dict(now).get(folder.name)
    lease = task["lease"]
    if own not in ("incomplete", "ok") or _without(now, folder.name) != _without(lease["seen"], folder.name):
        return task
    copy = lease["copy"]
    if copy is not None and _size(folder) > _size(Path(copy)):
        copy = None  # it was copied, and has grown since
    return {**task, "lease": {**lease, "seen": now, "copy": copy}, "train": task["train"] and own != "ok"}


def _without(attempts: list[list[str]], name: str) -> list[list[str]]:
    return [each for each in attempts if each[0] != name]


def _size(folder: Path) -> int:
    file = folder / TRAIN_FILE
    return file.stat().st_size if file.is_file() else 0
