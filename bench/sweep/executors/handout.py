"""Which of the waiting tasks a free worker gets, so that steps are compiled as rarely as may be."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence

from bench.sweep.executors.api import Task


class Handout:
    """Hands each task out once, to threads that ask at the same time.

    A task's "step" is equal for runs that can share a compiled step, None where nothing is compiled. A worker keeps the
    step that it compiled last, so it gets (1) a task of that step; else (2) the first task of a step that no other
    worker keeps, or of none; else (3) the first task. Tasks without a step thus come in their order.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = list(tasks)
        self._kept: dict[Hashable, str] = {}
        self._lock = threading.Lock()

    def take(self, worker: Hashable) -> Task | None:
        """The next task of this worker; None where none is left."""
        with self._lock:
            if not self._waiting:
                return None
            steps = [task.get("step") for task in self._waiting]
            task = self._waiting.pop(self._choose(worker, steps))
            if (step := task.get("step")) is not None:
                self._kept[worker] = step
            return task

    def _choose(self, worker: Hashable, steps: list[str | None]) -> int:
        own = self._kept.get(worker)
        if own is not None and own in steps:
            return steps.index(own)
        others = {step for other, step in self._kept.items() if other != worker}
        return next((index for index, step in enumerate(steps) if step not in others), 0)
