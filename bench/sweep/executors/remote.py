"""One task on another machine: a worker process there, and whether it sees the same folders."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.sweep.executors.api import Task
from bench.sweep.executors.local import Slot

_KEPT: dict[str, Slot] = {}
"""Workers of this process that wait for their next task."""


@contextlib.contextmanager
def shared_mark(folder: Path) -> Generator[Path]:
    """A file that a machine must see to share this folder; it is there while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"shared-{secrets.token_hex(8)}"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def enter(directory: Path, mark: Path) -> dict[str, Any] | None:
    """Make `directory` the current one; the fields of a "done" where this machine does not see the same folders."""
    if not (mark.is_file() and directory.is_dir()):
        return {"status": "bad input", "reason": f"--results: {socket.gethostname()} does not share {mark.parent}"}
    os.chdir(directory)
    return None


def do_task(
    task: Task, environment: dict[str, str], log: Path, timeout: float | None, mark: Path, directory: Path, keep: bool
) -> dict[str, Any]:
    """Do one task in a worker process of its own and return the fields of its "done".

    An exception that is thrown in here (a cancelled task) makes the worker save its state and leave.
    log: for what belongs to no run. mark: the file of `shared_mark`. directory: that paths are relative to.
    keep: leave the worker running for the next task of this process, since its imports take seconds.
    """
    if problem := enter(directory, mark):
        return problem
    name = json.dumps([environment, timeout, os.environ.get("CUDA_VISIBLE_DEVICES")], sort_keys=True)
    slot = _KEPT.pop(name, None) or Slot(environment, log, timeout, None)
    try:
        fields = slot.do(task, queue.SimpleQueue())
    except BaseException:
        slot.leave()
        raise
    if keep:
        _KEPT[name] = slot
    else:
        slot.leave()
    return fields


def missing_extra(extra: str) -> BadInput:
    """The one line for an executor whose package is not installed."""
    return BadInput(f"--executor {extra}: is not installed; give: pip install 'mixbench[{extra}]'")
