"""Job arrays of a SLURM cluster, a run each, put back in the queue with their checkpoints. Needs the extra `slurm`."""

from __future__ import annotations

import contextlib
import pickle
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.records.errors import storage
from bench.sweep.devices import Workers
from bench.sweep.executors.api import STOP_SECONDS, Event, Task, last_line
from bench.sweep.executors.remote import shared_mark
from bench.sweep.executors.settings import SlurmSettings
from bench.sweep.executors.slurm_job import RunJob
from bench.sweep.executors.slurm_queue import ENDED, LocalQueue, Queue, Refused, SlurmQueue
from bench.sweep.listeners import RecordTail

LOOK_SECONDS = 1.0
LOST = ("BOOT_FAIL", "COMPLETED", "FAILED", "GONE", "NODE_FAIL", "PREEMPTED", "REVOKED")
"""Ends of a job without a result that say nothing against its run."""


class SlurmExecutor:
    """Each task is a job that starts a worker process; jobs that are handed over together are an array.

    A job whose time is nearly up, or that is preempted, saves its run's state and goes on when it gets its turn again.
    A job that is lost is submitted again, `retries` times. BadInput without submitit or SLURM.
    """

    def __init__(self, settings: SlurmSettings, workers: Workers, logs: Path, timeout: float | None) -> None:
        self._settings, self._timeout = settings, timeout
        self._environment = workers.environments[0]
        root = Path(settings.logs) if settings.logs else logs / "slurm"
        self._marks = logs.resolve()
        self._folder = root.resolve() / f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"
        cpus = settings.cpus or workers.threads
        gpus = settings.gpus if settings.gpus is not None else int(workers.device != "cpu")
        kind = LocalQueue if settings.cluster == "local" else SlurmQueue
        self._queue: Queue = kind(settings, self._folder, cpus, gpus)

    def run(self, tasks: list[Task]) -> Iterator[Event]:
        """Do all tasks; closing the iterator cancels the jobs, which save their state."""
        with storage("cannot make", self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        waiting, losses = list(tasks), dict.fromkeys((task["name"] for task in tasks), 0)
        jobs: list[_Job] = []
        all_ok = True
        with shared_mark(self._marks) as mark:
            try:
                looked = time.monotonic()
                while waiting or jobs:
                    if waiting and (room := self._queue.room(len(jobs))):
                        batch, waiting = waiting[:room], waiting[room:]
                        for event in self._submit(batch, jobs, losses, mark):
                            all_ok = all_ok and event.kind != "done"
                            yield event
                    states: dict[str, str] | None = None
                    if time.monotonic() - looked >= self._queue.state_seconds:
                        states, looked = self._queue.states([each.job for each in jobs]), time.monotonic()
                    files = {path.name for path in self._folder.iterdir()}
                    for each in list(jobs):
                        yield from each.news(files)
                        fields = self._fields(each, files, states or {})
                        if fields is None:
                            continue
                        jobs.remove(each)
                        name = each.task["name"]
                        if fields.pop("again", False) and losses[name] < self._settings.retries:
                            losses[name] += 1
                            yield Event("waiting", each.task, {"line": f"{fields['reason']}; it is submitted again"})
                            waiting.append(each.task)
                        else:
                            all_ok = all_ok and fields["status"] == "ok"
                            yield Event("done", each.task, fields)
                    time.sleep(LOOK_SECONDS)
            finally:
                self._cancel(jobs)
                if all_ok and not jobs:
                    shutil.rmtree(self._folder, ignore_errors=True)

    def _submit(self, tasks: list[Task], jobs: list[_Job], losses: dict[str, int], mark: Path) -> Iterator[Event]:
        """Hand tasks to the queue; their jobs are added to `jobs`. BadInput where it takes none from the beginning.

        StorageError where they cannot be written for it.
        """
        runs = [
            RunJob(task, self._environment, self._folder / f"{task['name']}.txt", self._timeout, mark, Path.cwd())
            for task in tasks
        ]
        try:
            with storage("cannot write", self._folder):
                submitted = self._queue.submit(runs)
        except Refused as error:
            if not jobs and not any(losses.values()):
                hint = "; --executor-set gpus=0 asks for no GPU" if "gres" in str(error) else ""
                raise BadInput(f"--executor slurm: {error}{hint}") from None
            for task in tasks:
                yield Event("done", task, {"status": "error", "reason": str(error), "seconds": 0.0, "lost": True})
            return
        jobs += [_Job(task, job, RecordTail(Path(task["folder"]))) for task, job in zip(tasks, submitted, strict=True)]
        first, last = submitted[0].job_id, submitted[-1].job_id
        which = f"job {first}" if first == last else f"jobs {first} to {last}"
        for number, task in enumerate(tasks):
            line = f"Submitted {which} for {len(tasks)} run(s); logs are in {self._folder}"
            yield Event("waiting", task, {"line": line} if number == 0 else {})

    def _fields(self, each: _Job, files: set[str], states: dict[str, str]) -> dict[str, Any] | None:
        """The fields of "done", None while the job has not ended. Key "again": the run may be submitted again."""
        result = each.job.paths.result_pickle
        if result.name in files:
            outcome, value = pickle.loads(result.read_bytes())
            for path in (result, each.job.paths.submitted_pickle):
                path.unlink(missing_ok=True)
            return value if outcome == "success" else self._failed(each, str(value))
        if (state := states.get(each.job.job_id)) is None:
            return None
        if state not in ENDED:
            each.ended = None
            return None
        each.ended = each.ended or time.monotonic()
        if time.monotonic() - each.ended < self._queue.result_seconds:
            return None
        return self._without_result(each, state)

    def _failed(self, each: _Job, trace: str) -> dict[str, Any]:
        reason = next((line for line in reversed(trace.splitlines()) if line.strip()), "").strip()
        fields = {"status": "error", "reason": f"job {each.job.job_id}: {reason}", "seconds": 0.0, "lost": True}
        if "timed-out too many times" in reason:
            limit = f"{self._settings.time} min, requeues={self._settings.requeues}"
            fields |= {"status": "timeout", "reason": f"job {each.job.job_id} ran out of time too often ({limit})"}
        return fields

    def _without_result(self, each: _Job, state: str) -> dict[str, Any]:
        job = f"job {each.job.job_id}"
        fields: dict[str, Any] = {"status": "error", "seconds": 0.0, "lost": True}
        if state == "CANCELLED":
            return fields | {"status": "interrupted", "reason": f"{job} was cancelled"}
        if state in ("TIMEOUT", "DEADLINE"):
            return fields | {"status": "timeout", "reason": f"{job} ran out of time ({self._settings.time} min)"}
        if state == "OUT_OF_MEMORY":
            asked = self._settings.memory or "the cluster's default"
            return fields | {"status": "oom", "reason": f"{job} used more memory than it had asked for ({asked})"}
        last = last_line(each.job.paths.stdout)
        reason = f"{job} of {each.task['name']} ended without a result ({state})" + (f": {last}" if last else "")
        return fields | {"reason": reason, "again": state in LOST}

    def _cancel(self, jobs: list[_Job]) -> None:
        """Ask for an end, and wait while workers save their state."""
        if not jobs:
            return
        self._queue.cancel([each.job for each in jobs])
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            states = self._queue.states([each.job for each in jobs]) or {}
            if states and all(state in ENDED for state in states.values()):
                return
            # a job whose time was nearly up may have put itself back just now
            if back := [each.job for each in jobs if states.get(each.job.job_id) == "PENDING"]:
                self._queue.cancel(back)
            time.sleep(LOOK_SECONDS)


@dataclass
class _Job:
    """A task in the queue. job: submitit's. ended: when it was first seen to have ended, by this machine's clock."""

    task: Task
    job: Any
    tail: RecordTail
    started: bool = False
    ended: float | None = None
    epochs: float = 0
    evaluators: int = 0

    def news(self, files: set[str]) -> Iterator[Event]:
        """What it has begun and recorded since the last look."""
        if not self.started:
            if self.job.paths.stdout.name not in files:
                return
            self.started = True
            yield Event("start", self.task, {})
        before = (self.epochs, self.evaluators)
        with contextlib.suppress(OSError):  # an attempt's folder may go while it is read
            for line in self.tail.news():
                if line["kind"] == "epoch":
                    self.epochs = line["epoch"]
                self.evaluators += line["kind"] == "end" and "evaluator" in line
        if before != (self.epochs, self.evaluators):
            yield Event("progress", self.task, {"units": self.epochs + self.evaluators})
