"""Worker processes on this machine, each of which takes run after run; a failure of one never reaches another."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench.records import disk_is_full
from bench.run.stop_signals import stop_signals_wait
from bench.sweep.devices import shared_by
from bench.sweep.executors.api import STOP_SECONDS, Event, Task, last_line, task_log
from bench.sweep.executors.handout import Handout


class LocalExecutor:
    """One process for each environment; iterate `run` for the events of all of them.

    A run that several processes share takes as many environments, see `bench.sweep.devices.shared_by`; such runs are
    done when the others have been. What a worker prints goes to the log of the run that it works on, before and between
    runs to its own log in `logs`.
    timeout: seconds that any one task may take. lock: a descriptor that the workers keep open.
    """

    def __init__(
        self, environments: list[dict[str, str]], logs: Path, timeout: float | None = None, lock: int | None = None
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._environments = environments
        self._logs, self._timeout, self._lock = logs, timeout, lock

    def run(self, tasks: list[Task]) -> Iterator[Event]:
        """Do all tasks; ends when all are done. Closing the iterator (Ctrl-C) stops the workers, state saved.

        BadInput, before anything is done, where a run is to be shared by more processes than there are GPUs.
        """
        sizes = sorted({int(task.get("processes", 1)) for task in tasks})
        shared = {size: shared_by(self._environments, size) for size in sizes}
        for size in sizes:
            slots = [
                Slot(environment, self._logs / f"worker-{number}.txt", self._timeout, self._lock)
                for number, environment in enumerate(shared[size])
            ]
            yield from self._run(slots, [task for task in tasks if task.get("processes", 1) == size])

    def _run(self, slots: list[Slot], tasks: list[Task]) -> Iterator[Event]:
        waiting = Handout(tasks)
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        slots = slots[: max(1, min(len(slots), len(tasks)))]
        threads = [threading.Thread(target=slot.work, args=(waiting, events), daemon=True) for slot in slots]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                event = events.get()
                if event is None:
                    running -= 1
                else:
                    yield event
        finally:
            for slot in slots:
                slot.stop()
            for thread in threads:
                thread.join(STOP_SECONDS)
            for slot in slots:
                slot.kill()


class Slot:
    """A place for one worker process at a time."""

    def __init__(self, environment: dict[str, str], log: Path, timeout: float | None, lock: int | None) -> None:
        self._environment = {**os.environ, **environment}
        self._log = log
        self._keep_open = () if lock is None else (lock,)
        self._timeout = timeout
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()

    def work(self, waiting: Handout, events: queue.SimpleQueue[Event | None]) -> None:
        """Take tasks until none is left; runs in a thread."""
        try:
            while not self._stopping.is_set():
                task = waiting.take(self)
                if task is None:
                    break
                events.put(Event("start", task, {}))
                events.put(Event("done", task, self.do(task, events)))
        finally:
            self.stop()
            events.put(None)

    def stop(self) -> None:
        """Close the worker's stdin, which tells it to save and leave."""
        self._stopping.set()
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def leave(self) -> None:
        """Have the worker save and leave; end it where it takes too long."""
        self.stop()
        process = self._process
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End a worker that has not left by itself."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def do(self, task: Task, events: queue.SimpleQueue[Event | None]) -> dict[str, Any]:
        """Do one task and return the fields of its "done"; its other events are put into the queue."""
        try:
            process = self._ready_process()
        except OSError as error:
            reason = f"its worker process could not be started ({error.strerror or error})"
            return {"status": "error", "reason": reason, "lost": True, "full": disk_is_full(error)}
        timed_out = threading.Event()
        timer = threading.Timer(self._timeout or 0, lambda: (timed_out.set(), process.kill()))
        if self._timeout:
            timer.start()
        try:
            return self._converse(process, task, events)
        except (BrokenPipeError, EOFError, ValueError):
            code = process.wait()
            self._process = None
            if timed_out.is_set():
                return {"status": "timeout", "reason": f"took longer than {self._timeout:g} s", "lost": True}
            if self._stopping.is_set():
                return {"status": "interrupted", "reason": "stopped", "lost": False}
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            log = task_log(task)
            last = last_line(log) or last_line(self._log)
            reason = f"its worker process {how}" + (f" ({last})" if last else "")
            return {"status": "error", "reason": reason, "lost": True}
        finally:
            timer.cancel()

    def _converse(
        self, process: subprocess.Popen[str], task: Task, events: queue.SimpleQueue[Event | None]
    ) -> dict[str, Any]:
        stdin, stdout = _pipes(process)
        stdin.write(json.dumps(task) + "\n")
        stdin.flush()
        for line in stdout:
            fields = json.loads(line)
            if fields["event"] == "done":
                if fields["leaves"]:
                    process.wait()
                    self._process = None
                return fields
            events.put(Event(fields["event"], task, fields))
        raise EOFError

    def _ready_process(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("w") as log, stop_signals_wait():
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "bench.cli", "worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment,
                    pass_fds=self._keep_open,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the parent, which then asks its workers to save and leave
                )
        return self._process


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    return process.stdin, process.stdout
