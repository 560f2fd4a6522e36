"""How a sweep runs; nothing here changes a number in a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.records import Store

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """device: auto, cpu, cuda or cuda:N. workers, threads: None lets the machine decide. run_timeout: seconds.

    lock: descriptor of the results lock, which workers hold too, so that it outlives a parent that was killed.
    trial: runs are trials of a tuning, which see validation images but never the test images and keep numbers only.
    """

    device: str = "auto"
    workers: int | None = None
    threads: int | None = None
    run_timeout: float | None = None
    lock: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    trial: bool = False


def logs_folder(store: Store) -> Path:
    """Where worker processes print what belongs to no run."""
    return store.root.parent / "logs"
