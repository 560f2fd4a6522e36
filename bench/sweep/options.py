"""How a sweep runs; nothing here changes a number in a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.records import Store
from bench.sweep.executors.settings import ExecutorSettings, LocalSettings
from bench.sweep.listeners import Listeners

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """device: auto, cpu, cuda or cuda:N. workers, threads: None lets the machine decide. run_timeout: seconds.

    lock: descriptor of the results lock where the caller holds it; workers hold it too, so that it outlives a parent
    that was killed.
    trial: runs are trials of a tuning, which see validation images but never the test images and keep numbers only.
    executor: where runs are done. listeners: whoever wants to be told of runs, epochs and metrics.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    run_timeout: float | None = None
    lock: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    trial: bool = False
    executor: ExecutorSettings = field(default_factory=LocalSettings)
    listeners: Listeners = field(default_factory=Listeners)


def logs_folder(store: Store) -> Path:
    """Where worker processes print what belongs to no run."""
    return store.root.parent / "logs"


def leases_folder(store: Store) -> Path:
    """Where sweeps say which runs they are doing; beside the records, so that merging these by copying is enough."""
    return store.root.parent / "leases"
