"""Tasks of a Ray cluster, a run each, with resources and retries. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.run.memory_share import MEMORY_FRACTION
from bench.sweep.devices import SHARED_MEMORY, Workers
from bench.sweep.executors.api import STOP_SECONDS, Event, Task
from bench.sweep.executors.remote import do_task, missing_extra, shared_mark
from bench.sweep.executors.settings import RaySettings

WAIT_SECONDS = 1.0


class RayExecutor:
    """Each task is a Ray task that starts a worker process where Ray places it.

    A task whose node is lost is tried again elsewhere; where the run had begun by then, the worker sees that and the
    sweep plans it anew, so that it goes on from its checkpoint. BadInput without Ray, or where no cluster is found.
    """

    def __init__(self, settings: RaySettings, workers: Workers, logs: Path, timeout: float | None) -> None:
        try:
            import ray
        except ImportError:
            raise missing_extra("ray") from None
        self._ray: Any = ray
        self._settings, self._logs, self._timeout = settings, logs, timeout
        self._threads = workers.threads
        self._environment = workers.environments[0]
        self._device = workers.device

    def run(self, tasks: list[Task]) -> Iterator[Event]:
        """Do all tasks; "start" comes when a task is handed to Ray. There are no "progress" events."""
        ray = self._ray
        self._connect()
        gpus = self._gpus()
        environment = dict(self._environment)
        if 0 < gpus < 1:
            environment[MEMORY_FRACTION] = f"{SHARED_MEMORY * gpus:.4f}"
        remote = ray.remote(
            num_cpus=self._settings.num_cpus if self._settings.num_cpus is not None else self._threads,
            num_gpus=gpus, max_retries=self._settings.retries, scheduling_strategy="SPREAD",
        )(do_task)  # fmt: skip
        with shared_mark(self._logs.resolve()) as mark:
            pending: dict[Any, Task] = {}
            try:
                for task in tasks:
                    log = mark.with_name(f"ray-{task['name']}.txt")
                    reference = remote.remote(task, environment, log, self._timeout, mark, Path.cwd(), gpus == 0)
                    pending[reference] = task
                    yield Event("start", task, {})
                while pending:
                    done, _ = ray.wait(list(pending), num_returns=1, timeout=WAIT_SECONDS)
                    for reference in done:
                        task = pending.pop(reference)
                        yield Event("done", task, self._fields(reference))
            finally:
                self._cancel(list(pending))

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        address = self._settings.address or os.environ.get("RAY_ADDRESS")
        plain: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
        try:
            self._ray.init(log_to_driver=False, logging_level="ERROR", **plain)
        except (ConnectionError, ValueError) as error:
            raise BadInput(
                f"--executor ray: no cluster at {address}: {next(iter(str(error).splitlines()), '')}"
            ) from None

    def _gpus(self) -> float:
        if self._settings.num_gpus is not None:
            return self._settings.num_gpus
        return 1.0 if self._device != "cpu" and self._ray.cluster_resources().get("GPU", 0) > 0 else 0.0

    def _fields(self, reference: Any) -> dict[str, Any]:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = f"Ray lost it: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            return {"status": "error", "reason": reason, "seconds": 0.0, "lost": True}

    def _cancel(self, references: list[Any]) -> None:
        """Ask for an end; workers save their state first."""
        for reference in references:
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(reference)
        if references:
            self._ray.wait(references, num_returns=len(references), timeout=STOP_SECONDS)
