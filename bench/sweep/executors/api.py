"""What every executor offers, and what it tells of its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Task = dict[str, Any]
"""What `bench.run.worker` is handed as one JSON line."""
STOP_SECONDS = 30.0
"""How long a worker may take to save its run's state when asked to stop."""


@dataclass(frozen=True)
class Event:
    """What happened to a task: kind "waiting", "start", "progress" or "done" with the worker's fields.

    A task that waits was handed to a queue, for the first time or again; the field "line" is for people.
    """

    kind: str
    task: Task
    fields: dict[str, Any]


class Executor(Protocol):
    """Does tasks somewhere. A task that fails, or that loses its machine, never takes another one with it."""

    def run(self, tasks: list[Task]) -> Iterator[Event]:
        """Do all tasks; ends when each has its "done". Closing the iterator (Ctrl-C) stops them, state saved.

        The fields of "done" are at least status and reason, as `bench.run.worker` sends them.
        """
        ...


def task_log(task: Task) -> Path:
    """Where a worker prints while it does this task."""
    return Path(task["folder"]) / "log.txt"


def last_line(log: Path) -> str:
    """The last line that is not blank, "" where there is none."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""
